//! A command in a real terminal, tmux's, whose screen is looked at.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::place::Place;
use super::tools::{checkout, found_in_path, tool};

const PATIENCE: Duration = Duration::from_secs(120);

/// Beginnings of the lines that are there before the command.
const OTHER: &str = "line-before-";

/// Beginnings of lines that are not the command's, or that depend on the machine.
const LEFT_OUT: &[&str] = &[OTHER, "isolation: ", "warning: "];

/// A running command in a terminal.
pub(crate) struct Tmux {
    socket: PathBuf,
    columns: usize,
}

impl Tmux {
    /// Starts a command in a terminal of that size, below a screen of other lines. When the command has
    /// ended the terminal shows its status, as `status 0`.
    pub(crate) fn start(place: &Place, (columns, rows): (usize, usize), command: &Command) -> Self {
        let socket = place.path().join("tmux");
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quote = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let words: Vec<String> = words.map(|word| quote(word.to_str().unwrap())).collect();
        let script = words.join(" ");
        let script =
            format!("trap : INT; seq -f {OTHER}%g 40; {script}; echo status $?; sleep 600");
        let mut server = place.command(found_in_path("tmux"));
        for (name, value) in command.get_envs() {
            server.env(name, value.unwrap_or_default());
        }
        server.args(["-u", "-f", "/dev/null", "-S"]).arg(&socket);
        server.args(["set-option", "-g", "status", "off", ";", "new-session", "-d"]);
        server.args(["-x", &columns.to_string(), "-y", &rows.to_string(), &script]);
        let output = server.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { socket, columns }
    }

    fn tell(&self, args: &[&str]) -> String {
        let socket = self.socket.to_str().unwrap();
        tool("tmux", [&["-u", "-S", socket], args].concat())
    }

    /// Types keys, by the names that tmux has for them.
    pub(crate) fn keys(&self, keys: &str) {
        self.tell(&["send-keys", keys]);
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&mut self, columns: usize, rows: usize) {
        self.tell(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
        self.columns = columns;
    }

    /// Returns the rows of the command, those that have left the screen at the top, too.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.rows(&["-S", "-"])
    }

    /// Returns the rows of the command on the screen.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.rows(&[])
    }

    fn rows(&self, args: &[&str]) -> Vec<String> {
        let text = self.tell(&[&["capture-pane", "-p"], args].concat());
        let lines = text.trim_end().lines().map(str::trim_end);
        let is_own = |line: &&str| LEFT_OUT.iter().all(|start| !line.starts_with(start));
        lines.filter(is_own).map(str::to_owned).collect()
    }

    /// Waits until `wanted` holds for the screen, and returns its rows.
    #[track_caller]
    pub(crate) fn waits(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.shown();
            if wanted(&lines.join("\n")) {
                return lines;
            }
            assert!(Instant::now() < deadline, "it does not come:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Compares lines, with all times as `0.0s`, with the file `fixtures/screens/NAME`;
    /// `XBUILD_RECORD=1` writes it. No line may be wider than the terminal.
    #[track_caller]
    pub(crate) fn is_golden(&self, name: &str, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| without_times(line)).collect();
        let text = lines.join("\n") + "\n";
        let path = checkout().join("fixtures/screens").join(name);
        if std::env::var("XBUILD_RECORD").is_ok() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{name} differs; XBUILD_RECORD=1 records it");
        for line in &lines {
            let wide = line.chars().filter(|c| *c >= '\u{1100}' && *c != '…').count();
            assert!(line.chars().count() + wide <= self.columns, "{line:?} is too wide");
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The command may have ended, and the server with it.
        let socket = self.socket.to_str().unwrap();
        let _ = super::tools::quiet("tmux", ["-S", socket, "kill-server"]);
    }
}

/// Returns a line in which each time is `0.0s`; one at the right end keeps its end where it is.
fn without_times(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(' ') {
        let text = word.trim_end_matches(' ');
        let is_time = text.strip_suffix('s').is_some_and(|number| {
            number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        });
        match is_time {
            true => {
                // Blanks of a right-aligned time are as many as if it had one digit before its point.
                let more = text.len().saturating_sub("0.0s".len());
                if out.ends_with("  ") {
                    out.push_str(&" ".repeat(more));
                }
                out.push_str("0.0s");
                out.push_str(&word[text.len()..]);
            }
            false => out.push_str(word),
        }
    }
    out
}
