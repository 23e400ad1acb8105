//! `xbuild emulators ls`: the emulators that builds can use.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use xbuild_build::{Events, existing_store};
use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::{Candidate, Origin};
use xbuild_exec::probe;
use xbuild_store::EmulatorRecord;
use xbuild_wording::hints;

use super::super::du::size;
use super::super::platforms::PLATFORMS;
use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild emulators ls`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: TableFormat,
    #[command(flatten)]
    store: StoreArgs,
}

/// A file that may serve as an emulator.
struct Row {
    arch: Arch,
    origin: Origin,
    name: String,
    path: String,
    digest: Option<String>,
    version: Option<String>,
    size: u64,
    record: Option<EmulatorRecord>,
    /// Whether a build would take it.
    is_used: bool,
    /// Why it cannot serve.
    problem: Option<String>,
}

/// Prints the emulators, those of one architecture in the order in which builds look at them.
pub(super) fn run(args: &ListArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let rows = rows(args, console)?;
    let text = match args.format {
        TableFormat::Table => table(&rows),
        TableFormat::Json => format!("{:#}\n", Value::from_iter(rows.iter().map(json))),
    };
    console.result(text.as_bytes())
}

fn rows(args: &ListArgs, console: &Arc<Console>) -> Result<Vec<Row>, Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let store = existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    let records = store.map(|store| xbuild_build::installed_records(&store)).unwrap_or_default();
    let search_path = environment::search_path();
    let mut rows = Vec::new();
    for arch in Arch::ALL.into_iter().filter(|arch| Some(*arch) != Arch::host()) {
        let record = records.iter().find(|known| known.arch == arch).map(|known| &known.record);
        let mut is_decided = false;
        let mut installed = Vec::new();
        match record {
            Some(Ok((_, found))) => installed.push(found.clone()),
            Some(Err(error)) => {
                is_decided = true;
                rows.push(Row::damaged(arch, error.to_string()));
            }
            None => {}
        }
        for candidate in probe::candidates(arch, &installed, &search_path) {
            let is_installed = candidate.origin == Origin::Installed;
            let is_used = !is_decided && candidate.loaded.is_ok();
            is_decided |= is_used || is_installed;
            let record = record.and_then(|r| r.as_ref().ok()).filter(|_| is_installed);
            let record = record.map(|(record, _)| record.clone());
            rows.push(Row::of(arch, candidate, record, is_used));
        }
    }
    Ok(rows)
}

impl Row {
    fn of(arch: Arch, found: Candidate, record: Option<EmulatorRecord>, is_used: bool) -> Self {
        let file =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = std::fs::metadata(&found.path).map_or(0, |meta| meta.len());
        let row = Self {
            arch,
            origin: found.origin,
            name: record.as_ref().map_or_else(|| file(&found.path), |record| record.name.clone()),
            path: found.path.display().to_string(),
            digest: record.as_ref().map(|record| record.program.to_string()),
            version: None,
            size,
            record,
            is_used,
            problem: None,
        };
        match found.loaded {
            Ok(emulator) => {
                Self { digest: Some(emulator.digest.to_string()), version: emulator.version, ..row }
            }
            Err(error) => Self { problem: Some(error.to_string()), ..row },
        }
    }

    /// Returns the row of an installed emulator whose record cannot be read.
    fn damaged(arch: Arch, problem: String) -> Self {
        Self {
            arch,
            origin: Origin::Installed,
            name: String::new(),
            path: String::new(),
            digest: None,
            version: None,
            size: 0,
            record: None,
            is_used: false,
            problem: Some(problem),
        }
    }

    /// Returns the platforms whose programs it runs.
    fn platforms(&self) -> Vec<String> {
        let is_ours =
            |name: &&str| name.parse().is_ok_and(|platform| Arch::of(&platform) == Some(self.arch));
        let names: Vec<String> =
            PLATFORMS.iter().copied().filter(is_ours).map(str::to_owned).collect();
        if names.is_empty() { vec![platform_name(self.arch)] } else { names }
    }

    fn state(&self) -> &'static str {
        match (self.is_used, &self.problem) {
            (true, _) => "used",
            (false, Some(_)) => "bad",
            (false, None) => "-",
        }
    }
}

/// Returns the platform of an architecture, without variants.
pub(super) fn platform_name(arch: Arch) -> String {
    format!("linux/{}", arch.oci_name())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<15} {:<5} {:<23} {:<9} {:>9}  FROM\n",
        "PLATFORM", "STATE", "EMULATOR", "VERSION", "SIZE"
    );
    for row in rows {
        let from = match (&row.record, row.origin, &row.digest) {
            (Some(record), _, _) => format!("{}, {}", record.source, record.program),
            (None, Origin::Host, _) => format!("{}, registered on the host", row.path),
            _ => row.path.clone(),
        };
        let _ = writeln!(
            text,
            "{:<15} {:<5} {:<23} {:<9} {:>9}  {}",
            platform_name(row.arch),
            row.state(),
            printable(&row.name),
            printable(row.version.as_deref().unwrap_or("-")),
            size(row.size),
            printable(&from)
        );
    }
    for problem in rows.iter().filter_map(|row| row.problem.as_ref()) {
        let _ = writeln!(text, "bad: {}", printable(problem));
    }
    if rows.is_empty() {
        let _ = writeln!(text, "{}", hints::no_emulators_yet());
    }
    text
}

fn json(row: &Row) -> Value {
    let origin = match row.origin {
        Origin::Installed => "installed",
        Origin::Path => "path",
        Origin::Host => "host",
    };
    json!({
        "architecture": row.arch.oci_name(),
        "platforms": row.platforms(),
        "origin": origin,
        "name": row.name,
        "path": row.path,
        "digest": row.digest,
        "version": row.version,
        "size": row.size,
        "source": row.record.as_ref().map(|record| &record.source),
        "image": row.record.as_ref().and_then(|record| record.image.as_ref()),
        "used": row.is_used,
        "problem": row.problem,
    })
}
