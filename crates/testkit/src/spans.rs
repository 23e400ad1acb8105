//! The spans and events of a test program, kept for its tests.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

static CLOSED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps all spans and events of this process from here on, those of libraries included.
pub fn collect() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let subscriber = Registry::default().with(Collector);
        subscriber::set_global_default(subscriber).expect("nothing else collects spans");
    });
}

/// Returns the closed spans, each as a line with the spans around it, outermost first:
/// `build > step label=RUN x`. Tests of one process share them.
pub fn closed() -> Vec<String> {
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Returns the events so far, as lines: `target message=x field=y`.
pub fn events() -> Vec<String> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Collector;

/// The fields of a span or event, each with a blank before it.
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

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = format!("{}{}", event.metadata().target(), fields.0);
        EVENTS.lock().unwrap_or_else(PoisonError::into_inner).push(line);
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
