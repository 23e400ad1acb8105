//! The platforms of an image that a command is about.

use xbuild_model::{Platform, PlatformError};

use crate::report::Problem;

/// The argument `--platform` of commands that move images.
#[derive(Debug, clap::Args)]
pub(crate) struct PlatformArgs {
    /// Only these platforms (comma list, repeatable); `local` is this machine's, `all` are all
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,
}

impl PlatformArgs {
    /// Returns the platforms; none for all.
    pub(crate) fn given(&self) -> Result<Vec<Platform>, Problem> {
        if self.platform.iter().any(|text| text.trim() == "all") {
            return Ok(Vec::new());
        }
        let parse = |text: &String| match text.trim() {
            "local" => Ok(Platform::host()),
            text => text.parse().map_err(|error: PlatformError| {
                Problem::command_line(error.to_string()).of_option("platform")
            }),
        };
        self.platform.iter().map(parse).collect()
    }

    /// Does the same; without `--platform` this machine's.
    pub(crate) fn or_host(&self) -> Result<Vec<Platform>, Problem> {
        match self.platform.is_empty() {
            true => Ok(vec![Platform::host()]),
            false => self.given(),
        }
    }
}
