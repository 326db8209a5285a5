//! Thalweg: from devices to a lake, with SQL in between, in one binary. This package is composition only: it opens the parts
//! (`app`), gives statements their effect (`sql_service`), and offers them over HTTP (`server`) and on the command line (`cli`).
//! Invariant: `sql`, `connectors` and `devices` meet here and nowhere else.

mod allocator;
pub mod app;
pub mod cli;
pub mod config;
mod csv;
pub mod data_dir;
pub mod lake_catalog;
pub mod server;
pub mod services;
pub mod sql_service;
pub mod statements;
pub mod stream_samples;
mod threads;
mod units;
