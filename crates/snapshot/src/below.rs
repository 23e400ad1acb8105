//! Questions about the layers below a command's changes, from the task that looks for changes to the
//! engine, which knows the tree.
//!
//! Question and answer are JSON with their length before them, and come in turn through two pipes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xbuild_files::changes::{Below, Known};
use xbuild_layer::{Kind, Tree};
use xbuild_model::device::{Device, DeviceKind};

/// The longest message, in bytes. A path has 4096 at most, each up to four characters of JSON.
const LIMIT: u32 = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    File(Vec<u8>),
    Device(Device),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    File(Option<Known>),
    Device(bool),
    Failed(String),
}

/// The side of the task.
#[derive(Debug)]
pub(crate) struct Asker {
    questions: File,
    answers: File,
}

impl Asker {
    pub(crate) fn new(questions: OwnedFd, answers: OwnedFd) -> Self {
        Self { questions: questions.into(), answers: answers.into() }
    }

    fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        send(&mut self.questions, question)?;
        match receive(&mut self.answers)? {
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Answer::Failed(why)) => Err(io::Error::other(why)),
            Some(answer) => Ok(answer),
        }
    }
}

impl Below for Asker {
    fn look_up(&mut self, path: &[u8]) -> io::Result<Option<Known>> {
        match self.ask(&Question::File(path.to_vec()))? {
            Answer::File(known) => Ok(known),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn has_device(&mut self, device: Device) -> io::Result<bool> {
        match self.ask(&Question::Device(device))? {
            Answer::Device(known) => Ok(known),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Answers all questions until the other side ends. The tree is made when the first one comes.
pub(crate) fn answer_all<E: std::fmt::Display>(
    questions: OwnedFd,
    answers: OwnedFd,
    tree: impl Fn() -> Result<Tree, E>,
) -> io::Result<()> {
    let (mut questions, mut answers) = (File::from(questions), File::from(answers));
    let (mut made, mut devices) = (None, None);
    while let Some(question) = receive(&mut questions)? {
        if made.is_none() {
            match tree() {
                Ok(tree) => made = Some(tree),
                Err(error) => {
                    send(&mut answers, &Answer::Failed(error.to_string()))?;
                    continue;
                }
            }
        }
        let Some(tree) = &made else { continue };
        let answer = match question {
            Question::File(path) => Answer::File(tree.lookup(&path).map(|node| Known {
                kind: node.kind.clone(),
                owner: (node.meta.uid, node.meta.gid),
                xattrs: node.meta.xattrs.clone(),
                content: node.content,
            })),
            Question::Device(device) => {
                Answer::Device(devices.get_or_insert_with(|| all_devices(tree)).contains(&device))
            }
        };
        send(&mut answers, &answer)?;
    }
    Ok(())
}

fn all_devices(tree: &Tree) -> BTreeSet<Device> {
    let device = |kind: &Kind| match *kind {
        Kind::CharDevice { major, minor } => Some(Device { kind: DeviceKind::Char, major, minor }),
        Kind::BlockDevice { major, minor } => {
            Some(Device { kind: DeviceKind::Block, major, minor })
        }
        _ => None,
    };
    tree.walk(b"").filter_map(|(_, node)| device(&node.kind)).collect()
}

fn send(pipe: &mut File, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    pipe.write_all(&[&length.to_le_bytes()[..], &text].concat())
}

/// Returns the next message; `None` if the other side has ended.
fn receive<T: DeserializeOwned>(pipe: &mut File) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match pipe.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    pipe.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}
