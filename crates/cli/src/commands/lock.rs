//! `xbuild lock`: records the versions of everything that a build takes from elsewhere.

use std::fs;
use std::io;
use std::sync::Arc;

use xbuild_build::error::{BuildError, Fault as _};
use xbuild_build::sources::{Lock, lock};
use xbuild_build::{Build, MainContext, plan, read};

use super::build_args::BuildArgs;
use super::call::Call;
use super::{build_request, source_rules};
use crate::console::Console;
use crate::environment;
use crate::progress::Progress;
use crate::report::Problem;
use crate::traces::traced;

/// The arguments of `xbuild lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Look up the newest versions of everything, instead of adding what is missing
    #[arg(long)]
    upgrade: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// Writes the lock file. No step runs.
pub(crate) fn run(args: &LockArgs, console: &Arc<Console>) -> Result<(), Problem> {
    if args.build.call()? != Call::Build || args.build.locked {
        return Err(Problem::command_line("--check, --call and --locked have no lock to make"));
    }
    let mut request = build_request::request(&args.build)?;
    request.push = false;
    request.cache = Default::default();
    let path = source_rules::lock_path(&args.build, &request.input.context);
    if !args.upgrade && path.exists() {
        request.sources.lock = Some(source_rules::read_lock(&path)?);
    }
    let known = request.sources.lock.clone().unwrap_or_default();
    let mut machine = args.build.registries.machine(args.build.store.root.as_deref())?;
    machine.secret_variables = environment::secret_variables(&request.steps.secrets);
    let progress = Arc::new(Progress::new(Arc::clone(console)));
    let proxies = machine.proxies.clone();
    let work = || {
        let build = Build::open(request, machine, Arc::clone(&progress) as _)?;
        let main = read(&build, &mut io::stdin())?;
        made(&build, &main).map_err(|error| {
            Problem::in_files(&error, &main.sources()).with_log(log(&progress, &error))
        })
    };
    let lock = traced(("xbuild lock", &args.build.tag), (console, &proxies), &progress, work)?;
    fs::write(&path, lock.to_text()).map_err(|error| Problem::file("write", &path, &error))?;
    let count = |lock: &Lock| lock.images.len() + lock.files.len() + lock.commits.len();
    let (all, new) = (count(&lock), count(&lock).saturating_sub(count(&known)));
    let sources = if all == 1 { "source" } else { "sources" };
    console.result(format!("{}: {all} {sources}, {new} of them new\n", path.display()).as_bytes())
}

fn made(build: &Build, main: &MainContext) -> Result<Lock, BuildError> {
    let plan = plan(build, main)?;
    Ok(lock(build, &plan)?)
}

fn log(progress: &Progress, error: &BuildError) -> Vec<String> {
    error.step().map(|label| progress.tail(label)).unwrap_or_default()
}
