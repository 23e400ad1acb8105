//! The end of a build in words: its time, its slowest steps, its sizes, and what to do with the result.

use std::fmt::Write as _;
use std::path::Path;

use xbuild_build::Outcome;
use xbuild_build::request::{Output, Target};
use xbuild_wording::{Hint, hints};

use crate::columns::fit;
use crate::commands::du::size;
use crate::console::{Console, Style};
use crate::progress::{Count, Tally, seconds};
use crate::report::printable;
use crate::screen::Screen;
use crate::values::shell::shell_word;

/// The shortest time of a step that is worth a line, in seconds.
const WORTH_A_LINE: f64 = 0.1;

/// A build that has ended well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    /// Its name, if there are others.
    pub(crate) name: Option<&'a str>,
    pub(crate) outcome: &'a Outcome,
    /// The lines of [`places`].
    pub(crate) places: &'a [String],
}

/// Shows how a build ended, unless the console is quiet or for programs. `places` are those of
/// [`places`].
pub(crate) fn show(console: &Console, outcome: &Outcome, tally: &Tally, places: &[String]) {
    show_all(console, &[Ended { name: None, outcome, places }], tally);
}

/// Shows how builds ended that ran at the same time.
pub(crate) fn show_all(console: &Console, builds: &[Ended<'_>], tally: &Tally) {
    let columns = match console.style() {
        Style::Live(_) => Screen::size().columns,
        Style::Plain => usize::MAX,
        Style::Quiet | Style::Json(_) => return,
    };
    let mut lines = vec![time(tally)];
    lines.extend(slowest(tally));
    for Ended { name, outcome, places } in builds {
        let next = next(outcome).map(|hint| hint.to_string());
        let of_build = sizes(outcome).into_iter().chain(next);
        let of_build = of_build.chain(places.iter().cloned());
        lines.extend(of_build.map(|line| match name {
            Some(name) => format!("{name}: {line}"),
            None => line,
        }));
    }
    for line in lines {
        console.line(fit(&printable(&line), columns));
    }
}

fn time(tally: &Tally) -> String {
    let Count { all, cached, .. } = tally.count;
    let steps = if all == 1 { "step" } else { "steps" };
    format!("built in {}, {cached} of {all} {steps} cached", seconds(tally.time))
}

fn slowest(tally: &Tally) -> Vec<String> {
    let is_worth = |time: f64| time >= WORTH_A_LINE;
    let slow = tally.slowest.iter().filter(|(_, time)| is_worth(time.as_secs_f64()));
    slow.map(|(label, time)| format!("  {:>6}  {label}", seconds(*time))).collect()
}

/// Returns the size of each image, and what is new in it.
fn sizes(outcome: &Outcome) -> Vec<String> {
    let images = outcome.assembled.images.iter().zip(&outcome.base_layers);
    let line = |(image, base): (&xbuild_image::AssembledImage, &usize)| {
        let bytes =
            |layers: &[xbuild_model::Descriptor]| layers.iter().map(|l| l.size).sum::<u64>();
        let (below, new) = image.layers.split_at((*base).min(image.layers.len()));
        let whole = size(bytes(&image.layers));
        let mut text = format!("{:<16} {whole}", image.platform.to_string());
        if !below.is_empty() {
            let layers = if new.len() == 1 { "layer" } else { "layers" };
            let _ =
                write!(text, ", new on the base {} in {} {layers}", size(bytes(new)), new.len());
        }
        text
    };
    images.map(line).collect()
}

/// Returns where the image of a name is, and what may be done with it next.
fn next(outcome: &Outcome) -> Option<Hint> {
    let name = outcome.names.first()?.familiar();
    match (outcome.is_pushed, outcome.is_stored) {
        (true, _) => Some(hints::run_pushed(name)),
        (false, true) => Some(hints::run_or_push(name)),
        (false, false) => None,
    }
}

/// Returns a line for each file and folder that a build writes, with what may be done with it next.
pub(crate) fn places(outputs: &[Output]) -> Vec<String> {
    let line = |output: &Output| match &output.target {
        Target::OciTar(Some(path)) | Target::Docker(Some(path)) => {
            Some(hints::load_archive(typed(path)))
        }
        Target::OciFolder(path) => Some(hints::run_layout(typed(path))),
        Target::Tar(Some(path), _) => Some(hints::list_files(typed(path))),
        Target::Local(path, _) => Some(hints::look_into(path.display())),
        Target::OciTar(None)
        | Target::Docker(None)
        | Target::Tar(None, _)
        | Target::Engine
        | Target::Image { .. }
        | Target::CacheOnly => None,
    };
    outputs.iter().filter_map(line).map(|hint| hint.to_string()).collect()
}

/// Returns a path as a shell takes it.
fn typed(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_has_the_time_and_the_slowest_steps() {
        let slowest = [("RUN make", 9_100), ("COPY . .", 99)];
        let slowest =
            slowest.map(|(label, time)| (label.to_owned(), Duration::from_millis(time))).to_vec();
        let count = Count { all: 14, ended: 14, cached: 3 };
        let tally = Tally { time: Duration::from_secs(12), count, slowest };
        assert_eq!(time(&tally), "built in 12.0s, 3 of 14 steps cached");
        assert_eq!(super::slowest(&tally), ["    9.1s  RUN make"]);
    }

    #[test]
    fn each_place_has_a_next_command() {
        let folder = Output::new(Target::OciFolder("out".into()));
        let tar = Output::new(Target::OciTar(Some("a.tar".into())));
        let stdout = Output::new(Target::OciTar(None));
        assert_eq!(
            places(&[folder, tar, stdout]),
            ["out: `xbuild run oci-layout://out`", "a.tar: `xbuild load --input a.tar`"]
        );
        let spaced = Output::new(Target::OciTar(Some("my image.tar".into())));
        assert_eq!(places(&[spaced]), ["'my image.tar': `xbuild load --input 'my image.tar'`"]);
    }
}
