//! The server as its clients see it, over services that answer from memory. Invariant: each test has a server of its own.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::error::{Case, Error};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::{
    CONNECT_BYTES_MAX, HTTP_BODY_BYTES_MAX, HTTP_RETRY_AFTER_DISK_FULL_S, HTTP_RETRY_AFTER_S, HTTP_TELEMETRY_BYTES_MAX,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::test_support::{Answer, Server, batch, operator};
use super::*;

mod access;
mod devices;
mod rows;
mod system;
mod telemetry;
