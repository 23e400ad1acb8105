//! The part of HTTP/1.1 that servers in tests need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, upper case.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers in their order, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns a parameter of the query with `%3A` and `%2F` decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.map(|text| text.replace("%3A", ":").replace("%2F", "/"))
    }

    /// Returns the first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads a request; `None` if the connection was closed.
    ///
    /// `cut` is called with the headers. If it returns a number, the connection is given up after
    /// that many bytes of the body.
    pub fn read(
        reader: &mut BufReader<TcpStream>,
        cut: impl FnOnce(&Request) -> Option<usize>,
    ) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Self { method, target, headers: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        let length = request.header("content-length").and_then(|text| text.parse().ok());
        let length = length.unwrap_or(0usize);
        let cut = cut(&request);
        let wanted = cut.map_or(length, |cut| cut.min(length));
        reader.by_ref().take(wanted as u64).read_to_end(&mut request.body)?;
        if cut.is_some_and(|cut| cut < length) || request.body.len() < wanted {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Some(request))
    }
}

/// A response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers; `content-length` is added if it is missing.
    pub headers: Vec<(String, String)>,
    /// The body. It is not sent in answer to HEAD.
    pub body: Vec<u8>,
    /// Breaks the connection after that many bytes of the body.
    pub cut: Option<usize>,
    /// Sends the body again and again, without a length, until the client closes the connection.
    pub endless: bool,
    /// Sends a part byte by byte.
    pub drip: Option<Drip>,
}

/// The part of a response that is sent byte by byte, with a pause before each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drip {
    /// Status line and headers.
    Head(Duration),
    /// The body.
    Body(Duration),
}

impl Response {
    /// Returns a response without body.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Breaks the connection after that many bytes of the body.
    #[must_use]
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// Sends a part of it byte by byte.
    #[must_use]
    pub fn drip(mut self, drip: Drip) -> Self {
        self.drip = Some(drip);
        self
    }

    /// Writes the response. After an error the connection is of no use.
    pub fn write(&self, stream: &mut TcpStream, head: bool) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.headers.iter().any(|(name, _)| name == "content-length");
        if !has_length && !self.endless {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let (slow_head, slow_body) = match self.drip {
            Some(Drip::Head(pause)) => (Some(pause), None),
            Some(Drip::Body(pause)) => (None, Some(pause)),
            None => (None, None),
        };
        send(stream, text.as_bytes(), slow_head)?;
        if head {
            return stream.flush();
        }
        if self.endless {
            loop {
                stream.write_all(&self.body)?;
            }
        }
        let end = self.cut.map_or(self.body.len(), |cut| cut.min(self.body.len()));
        send(stream, &self.body[..end], slow_body)?;
        stream.flush()?;
        match self.cut {
            Some(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Ok(()),
        }
    }
}

/// Sends bytes, one by one if there is a pause to make before each.
fn send(stream: &mut TcpStream, bytes: &[u8], pause: Option<Duration>) -> io::Result<()> {
    let Some(pause) = pause else { return stream.write_all(bytes) };
    for byte in bytes {
        std::thread::sleep(pause);
        stream.write_all(&[*byte])?;
    }
    Ok(())
}
