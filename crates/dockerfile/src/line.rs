//! From one line, already joined, to the parts that all instructions share.

use crate::error::{ParseErrorKind, excerpt};
use crate::flags::{self, Flags, Known};
use crate::instruction::Command;
use crate::keyword::Keyword;
use crate::words::{self, Json};

/// The parts that all instructions share.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub keyword: Keyword,
    /// The flags, not yet checked.
    pub flags: Vec<String>,
    /// The text after the flags, without blanks at its ends.
    pub arguments: &'a str,
    /// The arguments, if they are in exec form.
    pub json: Option<Vec<String>>,
    /// The whole line.
    pub original: &'a str,
    pub escape: char,
}

impl<'a> Line<'a> {
    /// Takes a line apart.
    ///
    /// **Errors**: the instruction is unknown, or its JSON array holds other values than strings.
    pub fn read(original: &'a str, escape: char) -> Result<Self, ParseErrorKind> {
        let (name, rest) = words::split_first(original);
        let keyword =
            Keyword::from_word(name).ok_or_else(|| ParseErrorKind::UnknownInstruction {
                word: excerpt(name),
                suggestion: Keyword::nearest(name),
            })?;
        let (flags, arguments) = flags::extract(rest.unwrap_or_default(), escape);
        use Keyword::{Add, Cmd, Copy, Entrypoint, Run, Shell, Volume};
        let json = match keyword {
            Add | Cmd | Copy | Entrypoint | Run | Shell | Volume => strings(keyword, arguments)?,
            _ => None,
        };
        Ok(Line { keyword, flags, arguments, json, original, escape })
    }

    /// Returns whether words of the line can open heredocs.
    pub fn may_hold_heredocs(&self) -> bool {
        match self.keyword {
            Keyword::Add | Keyword::Copy | Keyword::Run => self.json.is_none(),
            Keyword::Onbuild => Line::read(self.arguments, self.escape)
                .is_ok_and(|inner| inner.keyword != Keyword::Onbuild && inner.may_hold_heredocs()),
            _ => false,
        }
    }

    /// Checks the flags.
    pub fn flags(&self, known: Known) -> Result<Flags, ParseErrorKind> {
        Flags::read(self.keyword, &self.flags, known)
    }

    /// Returns the arguments as one text.
    pub fn one_argument(&self) -> Result<String, ParseErrorKind> {
        match self.arguments {
            "" => Err(ParseErrorKind::NotOneArgument { keyword: self.keyword }),
            argument => Ok(argument.to_owned()),
        }
    }

    /// Returns the arguments as a command.
    pub fn command(&self) -> Command {
        match &self.json {
            Some(strings) => Command::Exec(strings.clone()),
            None => Command::Shell(self.arguments.to_owned()),
        }
    }

    pub fn no_argument(&self) -> ParseErrorKind {
        ParseErrorKind::NoArgument { keyword: self.keyword }
    }
}

/// Reads `text` as an exec form; `None` if it is shell form.
pub(crate) fn strings(keyword: Keyword, text: &str) -> Result<Option<Vec<String>>, ParseErrorKind> {
    match words::json(text) {
        Json::Strings(strings) => Ok(Some(strings)),
        Json::Others => Err(ParseErrorKind::NotStrings { keyword }),
        Json::No => Ok(None),
    }
}
