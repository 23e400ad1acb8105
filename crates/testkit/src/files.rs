//! A web server in memory, on a loopback port.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::listener::Listener;
use crate::wire::{Request, Response};

/// A web server. It ends when this value is dropped.
#[derive(Debug)]
pub struct FileServer {
    listener: Listener,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Answers by path and query; the last answer is repeated.
    answers: Mutex<BTreeMap<String, Vec<Response>>>,
    /// Answers to conditional requests by path and query.
    conditional: Mutex<BTreeMap<String, Response>>,
    log: Mutex<Vec<Request>>,
}

impl FileServer {
    /// Starts a server without files on a free port.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |stream, _| shared.serve(stream));
        Self { listener, state }
    }

    /// Returns the URL of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.address())
    }

    /// Sets the answers to requests of a path, given one after the other; the last one is repeated.
    pub fn answer(&self, path: &str, answers: impl IntoIterator<Item = Response>) {
        let answers = answers.into_iter().collect();
        let mut all = self.state.answers.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.to_owned(), answers);
    }

    /// Serves a file. A request with its `etag` is answered 304.
    pub fn put(&self, path: &str, etag: &str, modified: &str, body: impl Into<Vec<u8>>) {
        let response =
            Response::new(200).with("etag", etag).with("last-modified", modified).body(body);
        self.answer(path, [response]);
    }

    /// Sets the answer to all requests of a path that have a condition, whatever it says.
    pub fn answer_conditional(&self, path: &str, answer: Response) {
        let mut all = self.state.conditional.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.to_owned(), answer);
    }

    /// Returns the requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.state.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut reader, |_| None) {
            let response = self.next(&request);
            let head = request.method == "HEAD";
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            if response.write(&mut writer, head).is_err() {
                return;
            }
        }
    }

    fn next(&self, request: &Request) -> Response {
        let condition = ["if-none-match", "if-modified-since"];
        if condition.iter().any(|name| request.header(name).is_some()) {
            let all = self.conditional.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = all.get(&request.target) {
                return answer.clone();
            }
        }
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answers) = all.get_mut(&request.target) else { return Response::new(404) };
        let response = match answers.len() {
            0 => return Response::new(404),
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        let etag = response.headers.iter().find(|(name, _)| name == "etag");
        match (etag, request.header("if-none-match")) {
            (Some((_, etag)), Some(known)) if etag == known => Response::new(304),
            _ => response,
        }
    }
}
