//! Lending an SSH agent to a step: a socket of its own, behind which only signing works.
//!
//! The main process serves the step's socket. It passes requests for the list of keys and for
//! signatures on, in messages of bounded size, and answers all others (adding and removing keys,
//! locking, extensions) with a failure.
//!
//! **Source** — draft-ietf-sshm-ssh-agent § Protocol Messages.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags};
use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use xbuild_model::thread;

/// The most bytes of a message: the limit of OpenSSH's agent.
const MESSAGE_LIMIT: u32 = 256 << 10;

/// The most connections at a time; further ones are closed at once.
const CONNECTION_LIMIT: usize = 64;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

/// A socket that leads to an agent, until this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    path: PathBuf,
    /// `None` only while this is dropped: closing it ends all threads.
    alive: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Lent {
    /// Makes the socket `home`/`name` for the agent at `agent`. The folder is made if it is
    /// missing.
    pub(super) fn start(agent: &Path, home: &Path, name: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        // Names of sockets are short; the store's path may be long.
        let folder = File::open(home)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
        listener.set_nonblocking(true)?;
        let (end, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (agent, end) = (agent.to_owned(), Arc::new(end));
        let thread = thread::start("ssh-agent", move || accept_all(&listener, &agent, &end))?;
        Ok(Self { path: home.join(name), alive: Some(alive), thread: Some(thread) })
    }

    /// Returns the path of the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
        // Nobody listens any more. The folder is removed with those of the step.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Waits until there is something to read; returns `false` at the end of the step.
fn wait(fd: impl AsFd, end: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&fd, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    Ok(polled[1].revents().is_empty())
}

fn accept_all(listener: &UnixListener, agent: &Path, end: &Arc<OwnedFd>) {
    // Each connection has a handle of this.
    let connections = Arc::new(());
    while wait(listener, end).unwrap_or(false) {
        let Ok((client, _)) = listener.accept() else { continue };
        if Arc::strong_count(&connections) > CONNECTION_LIMIT
            || client.set_nonblocking(false).is_err()
        {
            continue;
        }
        let (agent, end, connection) = (agent.to_owned(), end.clone(), connections.clone());
        let serve = move || {
            // On an error the client sees a closed connection. There is no other way to tell it.
            let _ = serve(&client, &agent, &end);
            drop(connection);
        };
        // The same happens if there are no threads left.
        let _ = thread::start("ssh-agent", serve);
    }
}

/// Serves one connection until either side closes it.
fn serve(client: &UnixStream, agent: &Path, end: &OwnedFd) -> io::Result<()> {
    let agent = UnixStream::connect(agent)?;
    while let Some(request) = read_message(client, end)? {
        let answer = match request.first() {
            Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)) => {
                write_message(&agent, &request)?;
                read_message(&agent, end)?.ok_or(io::ErrorKind::UnexpectedEof)?
            }
            _ => vec![FAILURE],
        };
        write_message(client, &answer)?;
    }
    Ok(())
}

/// Reads a message without its length; `None` if the other side has closed, or the step has ended.
fn read_message(stream: &UnixStream, end: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if !read_all(stream, &mut length, end)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    Ok(read_all(stream, &mut message, end)?.then_some(message))
}

fn read_all(mut stream: &UnixStream, mut buffer: &mut [u8], end: &OwnedFd) -> io::Result<bool> {
    while !buffer.is_empty() {
        if !wait(stream, end)? {
            return Ok(false);
        }
        match stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn write_message(mut stream: &UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts an agent that answers each request with itself, and takes note of its type.
    fn agent(path: &Path) -> std::sync::mpsc::Receiver<u8> {
        let listener = UnixListener::bind(path).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (end, _alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                while let Ok(Some(message)) = read_message(&stream, &end) {
                    tell.send(message[0]).unwrap();
                    write_message(&stream, &message).unwrap();
                }
            }
        });
        told
    }

    fn ask(path: &Path, message: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(path).unwrap();
        write_message(&stream, message).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    #[test]
    fn passes_on_lists_and_signatures_only() {
        let folder = tempfile::tempdir().unwrap();
        let (path, home) = (folder.path().join("agent"), folder.path().join("lent"));
        let told = agent(&path);
        let lent = Lent::start(&path, &home, "0").unwrap();
        let sign = [&[SIGN_REQUEST][..], &[7; 5000]].concat();
        assert_eq!(ask(lent.path(), &[REQUEST_IDENTITIES]), [REQUEST_IDENTITIES]);
        assert_eq!(ask(lent.path(), &sign), sign);
        // Add, remove one, remove all, add from a card, lock, extension, nothing, made up.
        for request in [&[17, 1][..], &[18], &[19], &[20], &[22], &[27], &[], &[255]] {
            assert_eq!(ask(lent.path(), request), [FAILURE]);
        }
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [REQUEST_IDENTITIES, SIGN_REQUEST]);
    }

    #[test]
    fn ends_with_the_step_whoever_is_connected() {
        let folder = tempfile::tempdir().unwrap();
        let (path, home) = (folder.path().join("agent"), folder.path().join("lent"));
        let listener = UnixListener::bind(&path).unwrap();
        let lent = Lent::start(&path, &home, "0").unwrap();
        // The agent never answers, and a message of four gigabytes never comes.
        let mut waiting = UnixStream::connect(lent.path()).unwrap();
        write_message(&waiting, &[REQUEST_IDENTITIES]).unwrap();
        let mut endless = UnixStream::connect(lent.path()).unwrap();
        endless.write_all(&[255; 8]).unwrap();
        assert_eq!(endless.read(&mut [0; 8]).unwrap_or(0), 0);
        let socket = lent.path().to_owned();
        drop(lent);
        assert_eq!(waiting.read(&mut [0; 8]).unwrap_or(0), 0);
        assert!(!socket.exists());
        drop(listener);
    }
}
