//! A plugin of Docker's command line: `docker xbuild build ..`.
//!
//! **Source** — Docker CLI plugins: `docker-cli-plugin-metadata` asks who the plugin is; a command is
//! passed on with the name of the plugin first.

use std::ffi::OsString;

use serde_json::json;

use super::meant::Meant;

/// Returns what Docker's command line asks for.
pub(super) fn meaning(mut args: Vec<OsString>) -> Meant {
    let first = args.get(1).and_then(|arg| arg.to_str());
    match first {
        Some("docker-cli-plugin-metadata") => {
            let metadata = json!({
                "SchemaVersion": "0.1.0",
                "Vendor": "xbuild",
                "Version": env!("CARGO_PKG_VERSION"),
                "ShortDescription": env!("CARGO_PKG_DESCRIPTION"),
            });
            Meant::Text(format!("{metadata:#}\n"))
        }
        Some("xbuild") => {
            args.remove(1);
            Meant::Line(args)
        }
        _ => Meant::Line(args),
    }
}
