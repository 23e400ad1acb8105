//! The spans of a test program, kept when they close.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

static CLOSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Has all spans of this process kept from here on.
pub fn collect() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let subscriber = Registry::default().with(Collector);
        subscriber::set_global_default(subscriber).expect("nothing else collects spans");
    });
}

/// Returns the spans that have closed, as lines with the spans that they are in from the outermost
/// on: `build > step label=RUN x`. Tests of one process share them.
pub fn closed() -> Vec<String> {
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Collector;

/// The fields of a span, each with a blank before it.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let spans = span.scope().from_root().map(|span| {
            let fields = span.extensions();
            format!("{}{}", span.name(), fields.get::<Fields>().map_or("", |fields| &fields.0))
        });
        let line = spans.collect::<Vec<_>>().join(" > ");
        CLOSED.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
