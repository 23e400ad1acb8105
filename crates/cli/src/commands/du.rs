//! `xbuild du`: the contents of the store and their size.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild du`.
#[derive(Debug, clap::Args)]
pub(crate) struct DuArgs {
    /// List the cached steps and the cache mounts too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints a table of the store's contents.
pub(crate) fn run(args: &DuArgs, console: &Console) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let store = xbuild_build::open_store(&machine)?;
    let mut text = format!("store: {}\n", machine.store_root()?.display());
    let mut total = 0;
    let _ = writeln!(text, "{:<18} {:>8} {:>10}  LAST USED", "KIND", "COUNT", "SIZE");
    for usage in store.usage() {
        total += usage.bytes;
        let used = usage.last_used.map_or_else(|| "-".to_owned(), date);
        let size = size(usage.bytes);
        let _ = writeln!(text, "{:<18} {:>8} {size:>10}  {used}", usage.kind, usage.count);
    }
    let _ = writeln!(text, "{:<18} {:>8} {:>10}", "total", "", size(total));
    if args.verbose {
        text.push_str("\nCACHED STEPS, the last used first\n");
        for (record, used) in store.cached_steps() {
            let _ = writeln!(text, "{}  {}", date(used), printable(&record.description));
        }
        text.push_str("\nCACHE MOUNTS, the last used first\n");
        for mount in store.cache_mounts() {
            let used = mount.last_used.map_or_else(|| "-".to_owned(), date);
            let _ =
                writeln!(text, "{used:<20}  {:>10}  {}", size(mount.bytes), printable(&mount.id));
        }
    }
    console.result(text.as_bytes())
}

/// Returns a time for people.
pub(super) fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
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
}
