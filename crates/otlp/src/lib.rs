//! Traces of builds as documents of OpenTelemetry's protocol, OTLP.
//!
//! Plain values only: [`Settings`] are read from variables that the caller looks up, a [`Trace`]
//! becomes the body of a request, and the caller sends that. Sources: the OpenTelemetry
//! specification 1.49 (environment variables, exporter), the protocol 1.7, W3C Trace Context.

mod context;
mod document;
mod message;
mod settings;
mod trace;

pub use context::{ContextError, Parent};
pub use document::{Document, Rejected, document, rejected};
pub use settings::{Settings, SettingsFault};
pub use trace::{Kind, Span, Trace, Value};
