//! The way of a trace to the collector that the environment names. Whatever goes wrong is one warning.

use std::fs;
use std::sync::Arc;
use std::thread::JoinHandle;

use xbuild_model::thread;
use xbuild_otlp::{Document, Settings, Trace, document, rejected};
use xbuild_registry::{Client, ClientOptions, PostRequest, Proxies};

use crate::console::Console;
use crate::progress::{Failure, Progress, Told};
use crate::report::{Problem, ProblemKind, printable};
use crate::{environment, farewell};

/// Sends traces, if the environment asks for them.
pub(crate) struct Traces {
    console: Arc<Console>,
    wanted: Option<(Settings, Proxies)>,
}

/// A trace on its way. Dropped, it waits until the trace has arrived or is given up, which the
/// settings bound.
#[must_use]
pub(crate) struct Sending {
    console: Arc<Console>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Traces {
    /// Reads the environment, and tells what is wrong with it.
    pub(crate) fn new(console: &Arc<Console>, proxies: &Proxies) -> Self {
        let (settings, faults) = Settings::read(&environment::variable);
        for fault in faults {
            console.line(format_args!("warning: {fault}"));
        }
        let wanted = settings.map(|settings| (settings, proxies.clone()));
        Self { console: Arc::clone(console), wanted }
    }

    /// Sends the trace that `make` returns for a trace id if a signal ends this process, in the time that
    /// there is then.
    pub(crate) fn at_signal(&self, make: impl FnOnce([u8; 16]) -> Trace + Send + 'static) {
        let Some((settings, proxies)) = self.wanted.clone() else { return };
        farewell::at_signal(move || {
            let settings =
                Settings { patience: settings.patience.min(farewell::PATIENCE), ..settings };
            let made = trace_id().and_then(|id| document(&settings, &make(id), &mut random));
            // Standard error is gone by then, so nobody can read a warning.
            move || drop(made.map(|document| post(&settings, proxies, &document)))
        });
    }

    /// Sends the trace that `make` returns for a trace id.
    pub(crate) fn send(self, make: impl FnOnce([u8; 16]) -> Trace) -> Sending {
        farewell::stay_if_ending();
        let Self { console, wanted } = self;
        let mut sending = Sending { console, thread: None };
        let Some((settings, proxies)) = wanted else { return sending };
        let made = trace_id().and_then(|id| document(&settings, &make(id), &mut random));
        match made {
            Ok(document) => {
                let work = move || post(&settings, proxies, &document);
                match thread::start("trace", work) {
                    Ok(thread) => sending.thread = Some(thread),
                    Err(error) => sending.tell(&error.to_string()),
                }
            }
            Err(errno) => sending.tell(&format!("no random numbers: {errno}")),
        }
        sending
    }
}

/// Does the work of a command that moves images or builds, and sends a trace of it, well or not. `names` are
/// those of the images.
pub(crate) fn traced<T>(
    (command, names): (&'static str, &[String]),
    (console, proxies): (&Arc<Console>, &Proxies),
    progress: &Arc<Progress>,
    work: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let traces = Traces::new(console, proxies);
    traces.at_signal(at_signal(command, names, progress));
    let ended = work();
    progress.finish();
    let failure = ended.as_ref().err().map(failure);
    let told = Told { command, names, failure, bytes: &|_| None };
    // It is waited for here.
    drop(traces.send(|id| progress.trace(id, &told)));
    ended
}

/// Returns what makes the trace of a command that a signal ends.
pub(crate) fn at_signal(
    command: &'static str,
    names: &[String],
    progress: &Arc<Progress>,
) -> impl FnOnce([u8; 16]) -> Trace + Send + 'static {
    let (names, progress) = (names.to_vec(), Arc::clone(progress));
    move |id| {
        let failure = Failure { message: "ended by a signal".to_owned(), exit: None };
        let told = Told { command, names: &names, failure: Some(failure), bytes: &|_| None };
        progress.trace(id, &told)
    }
}

/// Returns what a trace tells of a problem.
pub(crate) fn failure(problem: &Problem) -> Failure {
    match problem.kind() {
        ProblemKind::Exit(status) => {
            Failure { message: format!("exit status {status}"), exit: Some(status.into()) }
        }
        _ => Failure { message: printable(problem.message()), exit: problem.exit() },
    }
}

impl Sending {
    fn tell(&self, reason: &str) {
        self.console.line(format_args!("warning: the trace is not sent: {reason}"));
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.tell(&reason),
            Err(_) => self.tell("a defect of xbuild"),
        }
    }
}

/// Returns the id of a trace that is no part of another one.
fn trace_id() -> Result<[u8; 16], rustix::io::Errno> {
    let mut id = [0; 16];
    random(&mut id).map(|()| id)
}

fn random(bytes: &mut [u8]) -> Result<(), rustix::io::Errno> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

fn post(settings: &Settings, proxies: Proxies, document: &Document) -> Result<(), String> {
    let certificate = settings.certificate.as_deref().map(|path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    let options = ClientOptions {
        proxies,
        extra_roots: certificate.transpose()?.into_iter().collect(),
        ..ClientOptions::default()
    };
    let mut headers = settings.headers.clone();
    headers.extend(document.encoding.map(|name| ("content-encoding".to_owned(), name.to_owned())));
    let request = PostRequest {
        url: &settings.url,
        content_type: document.content_type,
        headers: &headers,
        body: &document.body,
        patience: settings.patience,
    };
    let answer = Client::new(options).post(&request).map_err(|error| {
        let causes = crate::report::causes(std::error::Error::source(&error));
        let causes: String = causes.iter().map(|cause| format!(": {cause}")).collect();
        // The protocol that other programs speak unless they are told otherwise.
        let advice = if settings.url.contains(":4317") {
            "; 4317 is the port of gRPC as a rule, and 4318 that of HTTP"
        } else {
            ""
        };
        format!("{error}{causes}{advice}")
    })?;
    match rejected(settings, &answer) {
        Some(rejected) => {
            Err(format!("the collector refused {} spans: {}", rejected.spans, rejected.message))
        }
        None => Ok(()),
    }
}
