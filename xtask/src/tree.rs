//! The repository's files in memory. Invariant: a check sees the repository only through this, so it is a pure function,
//! and the violation that proves it can fail is a few made-up lines.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::rust;

/// Names of what is no part of the repository, beside cache directories, which carry a tag.
const LEFT_BEHIND: &[&str] = &[".git", "__pycache__", "target", "thalweg-data"];

/// One file that is text.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Whether it is tests, benchmarks or examples as a whole, where other rules hold.
    pub test: bool,
}

/// Every text file of the repository, sorted by path.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The files.
    pub files: Vec<File>,
}

/// Something that a check does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path of the file.
    pub path: String,
    /// Line from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Finding {
    /// A finding at a line, or 0 for the whole file.
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

impl Tree {
    /// Reads the repository. Files that are not UTF-8 are left out: they are fixtures.
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        files.sort();
        Ok(Self::new(files))
    }

    fn new(files: Vec<(String, String)>) -> Self {
        let mut files: Vec<File> = files.into_iter().map(|(path, text)| File { path, text, test: false }).collect();
        let modules: Vec<String> = files.iter().filter(|f| f.path.ends_with(".rs")).flat_map(rust::test_modules).collect();
        for file in &mut files {
            let folder = file.path.split('/').any(|part| ["tests", "benches", "examples"].contains(&part));
            let below = |module: &String| file.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
            file.test = folder || modules.iter().any(below);
        }
        Self { files }
    }

    /// A made-up repository.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    /// Text of the file at `path`.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|f| f.path == path).map(|f| f.text.as_str())
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }
}

/// Reads what lies below a folder, except what programs leave behind.
fn walk(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> Result<(), String> {
    if folder.join("CACHEDIR.TAG").exists() {
        return Ok(());
    }
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if LEFT_BEHIND.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().map_err(wrong)?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files)?;
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            files.push((path, text));
        }
    }
    Ok(())
}

/// Root of the repository. Asked when it runs and not when it was compiled, because clones may share a target directory.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}
