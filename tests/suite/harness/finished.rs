//! A build, or another command of xbuild, that ended.

use std::process::{Command, Output};

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn run(mut command: Command) -> Self {
        Self::of(command.output().unwrap())
    }

    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command ended with `status` and said all of `words`.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        self.says(words);
        self
    }

    /// Fails the test unless all of `words` are on standard error.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in:\n{}", self.stderr);
        }
    }

    /// Fails the test if `word` is on standard error or standard output.
    #[track_caller]
    pub(crate) fn does_not_say(&self, word: &str) {
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains(word), "{word:?} is in:\n{text}");
        }
    }

    /// Fails the test unless all of `words` are on standard output.
    #[track_caller]
    pub(crate) fn prints(&self, words: &[&str]) {
        for word in words {
            assert!(self.stdout.contains(word), "{word:?} is missing in:\n{}", self.stdout);
        }
    }

    /// Fails the test if a step was done rather than taken from the cache.
    #[track_caller]
    pub(crate) fn did_nothing(&self) {
        assert!(self.steps().ends_with(", 0 done"), "{}", self.stderr);
    }

    /// Returns how many steps came from the cache and how many were done, as plain progress says
    /// with `#N CACHED` and `#N DONE 0.1s`: `4 cached, 1 done`.
    pub(crate) fn steps(&self) -> String {
        let state = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        let states: Vec<String> = self.stderr.lines().filter_map(state).collect();
        let count = |word| states.iter().filter(|state| *state == word).count();
        format!("{} cached, {} done", count("CACHED"), count("DONE"))
    }
}
