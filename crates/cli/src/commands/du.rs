//! `xbuild du`: the contents of the store and their size.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use xbuild_build::Events;
use xbuild_build::error::OpenError;
use xbuild_model::short_label;
use xbuild_store::{Item, Usage};

use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild du`.
#[derive(Debug, clap::Args)]
pub(crate) struct DuArgs {
    /// List each layer, blob, cache mount and folder too, the last used first
    #[arg(short, long)]
    verbose: bool,
    /// Format; json has each record
    #[arg(long, value_enum, default_value = "table")]
    format: TableFormat,
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints a table of the store's contents.
pub(crate) fn run(args: &DuArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let root = machine.store_root()?;
    let store = xbuild_build::existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    let items = store.as_ref().map(|store| store.items()).transpose();
    let items = items.map_err(OpenError::from)?.unwrap_or_default();
    let usage = store.as_ref().map(|store| store.usage()).unwrap_or_default();
    let sum = |pinned| -> u64 {
        items.iter().filter(|item| item.is_pinned == pinned).map(|item| item.bytes).sum()
    };
    let named = store.as_ref().map(|store| store.named_bytes()).transpose();
    let named = named.map_err(OpenError::from)?.unwrap_or(0);
    let (prunable, pinned) = (sum(false), sum(true));
    let bound = machine.bound.bytes(root);
    if args.format == TableFormat::Json {
        let kinds: Vec<_> = usage.iter().map(kind).collect();
        let whole: u64 = usage.iter().map(|usage| usage.bytes).sum();
        let value = json!({
            "store": root,
            "bytes": whole,
            "images": named,
            "pinned": pinned,
            "prunable": prunable,
            "bound": bound,
            "kinds": kinds,
            "records": items.iter().rev().map(record).collect::<Vec<_>>(),
        });
        return console.result(format!("{value:#}\n").as_bytes());
    }
    let absent = if store.is_some() { "" } else { " (not there yet)" };
    let mut text = format!("store: {}{absent}\n", root.display());
    let mut total = 0;
    let _ = writeln!(text, "{:<18} {:>8} {:>10}  LAST USED", "KIND", "COUNT", "SIZE");
    for usage in usage {
        total += usage.bytes;
        let used = usage.last_used.map_or_else(|| "-".to_owned(), date);
        let size = size(usage.bytes);
        let _ = writeln!(text, "{:<18} {:>8} {size:>10}  {used}", usage.kind, usage.count);
    }
    let _ = writeln!(text, "{:<18} {:>8} {:>10}", "total", "", size(total));
    let bound = bound.map_or_else(|| "no bound".to_owned(), |bound| format!("of {}", size(bound)));
    for (kind, bytes) in [("named images", named), ("in use by builds", pinned)] {
        let _ = writeln!(text, "{kind:<18} {:>8} {:>10}", "", size(bytes));
    }
    let _ = writeln!(text, "{:<18} {:>8} {:>10}  {bound}", "under the bound", "", size(prunable));
    if args.verbose {
        text.push_str("\nRECORDS, the last used first\n");
        for item in items.iter().rev() {
            let used = item.last_used.map_or_else(|| "-".to_owned(), date);
            let (bytes, kind) = (size(item.bytes), item.kind.name());
            let name = printable(&short_label(&item.name));
            let pinned = if item.is_pinned { "  (in use)" } else { "" };
            let _ = writeln!(text, "{used:<20}  {bytes:>10}  {kind:<14}  {name}{pinned}");
        }
    }
    console.result(text.as_bytes())
}

fn kind(usage: &Usage) -> Value {
    json!({
        "kind": usage.kind,
        "count": usage.count,
        "bytes": usage.bytes,
        "lastUsed": usage.last_used.map(date),
    })
}

/// Returns a record for programs.
pub(super) fn record(item: &Item) -> Value {
    json!({
        "id": item.id,
        "kind": item.kind.name(),
        "name": item.name,
        "bytes": item.bytes,
        "lastUsed": item.last_used.map(date),
        "cachedStep": item.is_cached_step,
        "pinned": item.is_pinned,
    })
}

/// Returns a time for people. One outside of the years 1970 to 9999, which a file may have, is the first
/// or the last second of these.
pub(super) fn date(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// Returns a number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while let Some(next) = units.next().filter(|_| value >= 1024.0) {
        value /= 1024.0;
        unit = next;
    }
    if bytes < 1024 { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn every_time_of_a_file_can_be_shown() {
        let at = SystemTime::UNIX_EPOCH;
        let far = Duration::from_secs(300_000_000_000);
        for (time, shown) in [
            (at - far, "1970-01-01T00:00:00Z"),
            (at + Duration::from_secs(1), "1970-01-01T00:00:01Z"),
            (at + far, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(time), shown);
        }
    }
}
