//! The journal of the oracle. Invariant: a line is confirmed after it was synced, and confirmations count lines in the order
//! they came on their connection: `OK <lines so far>`.
//!
//! Lines are taken as they come: those that arrived together are synced together.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::event::Event;

/// Takes lines from `input` until it ends, and confirms them on `output`.
pub fn serve_lines(file: &Path, input: impl Read, output: impl Write) -> io::Result<()> {
    let journal = Mutex::new(open(file)?);
    take(&journal, input, output)
}

/// Takes connections on `socket` until the standard input ends and all of them have ended too.
pub fn serve_socket(file: &Path, socket: &Path) -> io::Result<()> {
    let journal = Arc::new(Mutex::new(open(file)?));
    let listener = UnixListener::bind(socket)?;
    let ending = Arc::new(AtomicBool::new(false));
    let (flag, path) = (ending.clone(), socket.to_owned());
    let watch = std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        flag.store(true, Ordering::SeqCst);
        // Wakes the loop below.
        drop(UnixStream::connect(path));
    });
    let mut connections = Vec::new();
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        };
        let journal = journal.clone();
        connections.push(std::thread::spawn(move || take(&journal, stream.try_clone()?, stream)));
        if ending.load(Ordering::SeqCst) {
            // What has connected already is still taken.
            listener.set_nonblocking(true)?;
        }
    }
    let _ = watch.join();
    for connection in connections {
        match connection.join() {
            // A sender that was killed takes no more confirmations.
            Ok(Err(e)) if !matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => return Err(e),
            Ok(_) => {}
            Err(_) => return Err(io::Error::other("a connection of the oracle panicked")),
        }
    }
    std::fs::remove_file(socket)
}

/// The events of a journal. A last line without an end was never confirmed and is left out. Errors: the line that is wrong.
pub fn load(file: &Path) -> Result<Vec<Event>, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(format!("{} does not exist", file.display())),
        Err(e) => return Err(format!("{}: {e}", file.display())),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(Event::parse).collect()
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}

fn take(journal: &Mutex<File>, input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let (mut lines, mut bytes) = (0u64, Vec::new());
    loop {
        bytes.clear();
        let mut count = 0;
        while count == 0 || input.buffer().contains(&b'\n') {
            let start = bytes.len();
            match input.read_until(b'\n', &mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e),
            }
            if bytes.last() != Some(&b'\n') {
                // The sender died in the middle of a line.
                bytes.truncate(start);
                break;
            }
            let line = std::str::from_utf8(&bytes[start..bytes.len() - 1]).map_err(io::Error::other)?;
            Event::parse(line).map_err(io::Error::other)?;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write_all(&bytes)?;
        journal.sync_data()?;
        drop(journal);
        lines += count;
        // A sender that died is no failure: what it said is kept, and there may be more of it to read.
        let _ = writeln!(output, "OK {lines}").and_then(|()| output.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Key, digest};

    #[test]
    fn lines_are_kept_and_counted_and_half_a_line_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("journal");
        let event = |sequence| Event::Sent(Key { device: "d".to_owned(), epoch: 1, sequence }, digest(b"x"));
        let input = format!("{}\n{}\nSENT d 1", event(1), event(2));
        let mut output = Vec::new();
        serve_lines(&file, input.as_bytes(), &mut output).unwrap();
        assert_eq!(output, b"OK 2\n");
        assert_eq!(load(&file).unwrap(), [event(1), event(2)]);
        assert!(serve_lines(&file, &b"nonsense\n"[..], Vec::new()).is_err());
        assert!(load(&temp.path().join("missing")).is_err());
    }
}
