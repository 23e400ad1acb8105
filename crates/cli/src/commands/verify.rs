//! `xbuild verify`: builds an image again, and shows where the one that exists differs.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use xbuild_build::error::{BuildError, Fault as _};
use xbuild_build::{
    Build, BuildRequest, Machine, MainContext, Verdict, heal, inspect, plan, preflight, read,
    run as run_steps, verify as compare, verify_request,
};
use xbuild_image::Inspection;
use xbuild_model::Platform;
use xbuild_wording::hints;

use super::build_args::BuildArgs;
use super::build_request;
use super::call::Call;
use crate::console::Console;
use crate::environment;
use crate::progress::Progress;
use crate::report::{Problem, ProblemKind, printable};
use crate::traces::traced;

/// The arguments of `xbuild verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The image: of the store, else of a registry; docker://NAME for a registry alone;
    /// oci-layout://DIR[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// The exit status if an image is another one than is built.
const DIFFERS: u8 = 6;

/// Builds an image again with no step from the cache, and compares it with the one that exists.
/// Nothing is written, pushed or named.
pub(crate) fn run(args: &VerifyArgs, console: &Arc<Console>) -> Result<(), Problem> {
    if args.build.call()? != Call::Build {
        return Err(Problem::command_line("--check and --call build nothing to compare"));
    }
    let mut request = build_request::request(&args.build)?;
    let mut machine = args.build.registries.machine(args.build.store.root.as_deref())?;
    machine.secret_variables = environment::secret_variables(&request.steps.secrets);
    let events = Arc::clone(console) as Arc<dyn xbuild_build::Events>;
    let image = inspect(&machine, &args.image, None, &events)?;
    verify_request(&mut request, &image)?;
    let progress = Arc::new(Progress::new(Arc::clone(console)));
    let (names, proxies) = ([args.image.clone()], machine.proxies.clone());
    let work = || compared(args, request, machine, image, (console, &progress));
    traced(("xbuild verify", &names), (console, &proxies), &progress, work)
}

/// Builds, compares, and prints what differs.
fn compared(
    args: &VerifyArgs,
    request: BuildRequest,
    machine: Machine,
    image: Inspection,
    (console, progress): (&Console, &Arc<Progress>),
) -> Result<(), Problem> {
    let build = Build::open(request, machine, Arc::clone(progress) as _)?;
    let main = read(&build, &mut io::stdin())?;
    let verdicts = heal(&build, || stages(&build, &main, &args.image)).map_err(|error| {
        let log = error.step().map(|label| progress.tail(label)).unwrap_or_default();
        Problem::in_files(&error, &main.sources()).with_paths(&main.paths()).with_log(log)
    })?;
    console.result(text(&verdicts, &image).as_bytes())?;
    if verdicts.iter().all(|verdict| verdict.difference.is_none()) {
        return Ok(());
    }
    let differences = verdicts.iter().filter_map(|verdict| verdict.difference.as_ref());
    if differences.clone().all(|difference| difference.is_time()) {
        console.error_text(&format!("hint: {}\n", hints::only_times_differ()));
    }
    Err(Problem::new(ProblemKind::Exit(DIFFERS), ""))
}

fn stages(build: &Build, main: &MainContext, image: &str) -> Result<Vec<Verdict>, BuildError> {
    let plan = plan(build, main)?;
    let ground = preflight(build, main, &plan)?;
    let built = run_steps(build, main, &plan, &ground)?;
    Ok(compare(build, &built, image)?)
}

/// Returns a line for each platform.
fn text(verdicts: &[Verdict], image: &Inspection) -> String {
    let mut text = String::new();
    for Verdict { platform, manifest, difference } in verdicts {
        let platform = platform.to_string();
        let _ = match difference {
            None => writeln!(text, "{platform:<16} same     {manifest}"),
            Some(difference) => {
                writeln!(text, "{platform:<16} differs  {}", printable(&difference.to_string()))
            }
        };
    }
    for other in image.images.iter().filter(|image| !image.is_attestation()) {
        let named = other.descriptor.platform.as_ref().map(Platform::of_descriptor);
        let Some(platform) = named else { continue };
        if verdicts.iter().all(|verdict| verdict.platform != platform) {
            let platform = printable(&platform.to_string());
            let _ = writeln!(text, "{platform:<16} not built, so not compared");
        }
    }
    text
}
