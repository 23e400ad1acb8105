//! A proxy in front of a registry that fails as proxies and registries do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does instead of passing a request on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Passes on so many bytes of the answer's body, and breaks off. Shorter answers do not
    /// count; 0 cuts the head of an answer without a body.
    CutAnswer(usize),
    /// Takes so many bytes of the request's body, and breaks off.
    CutRequest(usize),
    /// Changes the last byte of the answer's body.
    OtherBytes,
    /// Answers with a status and headers, each line with its end.
    Answer(u16, &'static str),
    /// Leads to the registry itself.
    Redirect,
    /// Waits that long, and passes on.
    Wait(Duration),
}

/// A fault: which requests it is for, and how many of them.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The method.
    pub(crate) method: &'static str,
    /// A part of the target, or of a header.
    pub(crate) part: &'static str,
    /// How many requests of that kind meet it.
    pub(crate) times: usize,
    /// What happens to them.
    pub(crate) trouble: Trouble,
}

/// The proxy. It serves until the end of the test's process.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    pub(crate) host: String,
    plans: Arc<Mutex<Vec<Plan>>>,
}

impl FaultProxy {
    /// Starts a proxy in front of the registry at `behind`.
    pub(crate) fn start(behind: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let plans: Arc<Mutex<Vec<Plan>>> = Arc::default();
        let (shared, behind) = (Arc::clone(&plans), behind.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (plans, behind) = (Arc::clone(&shared), behind.clone());
                // What breaks off is meant to.
                std::thread::spawn(move || drop(serve(client, &behind, &plans)));
            }
        });
        Self { host, plans }
    }

    /// Replaces the faults.
    pub(crate) fn plan(&self, plans: &[Plan]) {
        *self.plans.lock().unwrap() = plans.to_vec();
    }

    /// Returns for each fault how many requests have not yet met it.
    pub(crate) fn left(&self) -> Vec<usize> {
        self.plans.lock().unwrap().iter().map(|plan| plan.times).collect()
    }
}

/// Serves one request, and closes the connection.
fn serve(mut client: TcpStream, behind: &str, plans: &Mutex<Vec<Plan>>) -> io::Result<()> {
    let head = head(&mut client)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let is_of_kind = |plan: &&mut Plan| {
        line.starts_with(&format!("{} ", plan.method)) && head.contains(plan.part)
    };
    let is_for = |plan: &&mut Plan| plan.times > 0 && is_of_kind(plan);
    let trouble = plans.lock().unwrap().iter_mut().find(is_for).map(|plan| {
        plan.times -= 1;
        plan.trouble
    });
    match trouble {
        Some(Trouble::Answer(status, headers)) => {
            drain(&mut client, &head)?;
            let answer = format!(
                "HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
            );
            return finish(client, answer.as_bytes());
        }
        Some(Trouble::Redirect) => {
            drain(&mut client, &head)?;
            let target = line.split(' ').nth(1).unwrap_or("/");
            let answer = format!(
                "HTTP/1.1 307 x\r\nlocation: http://{behind}{target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            return finish(client, answer.as_bytes());
        }
        Some(Trouble::Wait(time)) => std::thread::sleep(time),
        _ => {}
    }
    let mut server = TcpStream::connect(behind)?;
    let lines = head.split("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    if let Some(Trouble::CutRequest(bytes)) = trouble {
        io::copy(&mut (&mut client).take(bytes as u64), &mut server)?;
        server.shutdown(Shutdown::Both)?;
        return client.shutdown(Shutdown::Both);
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let is_sent = std::thread::spawn(move || io::copy(&mut from, &mut to));
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let body =
        answer.windows(4).position(|part| part == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    match trouble {
        Some(Trouble::CutAnswer(bytes)) if bytes == 0 || answer.len() > body + bytes => {
            answer.truncate((body + bytes).min(answer.len() - 1));
        }
        Some(Trouble::CutAnswer(_)) => {
            let is_same = |plan: &&mut Plan| Some(plan.trouble) == trouble && is_of_kind(plan);
            plans.lock().unwrap().iter_mut().find(is_same).unwrap().times += 1;
        }
        Some(Trouble::OtherBytes) if body < answer.len() => *answer.last_mut().unwrap() ^= 1,
        _ => {}
    }
    let done = finish(client, &answer);
    drop(is_sent);
    done
}

fn finish(mut client: TcpStream, answer: &[u8]) -> io::Result<()> {
    client.write_all(answer)?;
    client.shutdown(Shutdown::Both)
}

/// Reads the head of a request.
fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads the body of a request of known length.
fn drain(client: &mut TcpStream, head: &str) -> io::Result<()> {
    let lower = head.to_lowercase();
    let length =
        lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    io::copy(&mut client.take(length.unwrap_or(0)), &mut io::sink()).map(drop)
}
