//! Options that `build`, `bake` and `compose-build` have in common, each with one spelling and one meaning.

use std::num::NonZeroUsize;

use crate::console::ProgressMode;

/// How progress is shown.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProgressArgs {
    /// Kind of progress
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "BUILDKIT_PROGRESS",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "auto|plain|tty|quiet|rawjson"
    )]
    pub(crate) progress: ProgressMode,
}

/// How many steps run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobsArgs {
    /// Steps that run at once [default: number of processors]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// Reads a number of things.
fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number from 1 on".to_owned())
}

/// The method that is applied to a Dockerfile: a build, a check, an outline.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MethodArgs {
    /// Check the Dockerfile instead of building it: --call check
    #[arg(long)]
    pub(crate) check: bool,
    /// Method: build, check[,format=text|json|sarif], outline[,format=json] for what the target can be
    /// given, or targets[,format=json] [default: build]
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<String>,
}

/// Short forms of attestations. A value may stand behind them, too.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClaimArgs {
    /// Short for --attest type=provenance,..; max also tells build arguments and the Dockerfile
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL|mode=min|max,..")]
    pub(crate) provenance: Option<String>,
    /// Short for --attest type=sbom: list the image's packages in the index
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) sbom: Option<String>,
}
