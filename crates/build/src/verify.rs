//! Verifying an image: it is built again, and compared with the one that exists.

use std::fmt;
use std::io::{BufReader, Read as _};

use serde_json::Value;
use xbuild_image::{InspectedImage, Inspection};
use xbuild_layer::{Difference, DifferentPart, first_difference};
use xbuild_model::seam::Snapshots as _;
use xbuild_model::{DiffId, Digest, ImageConfig, Platform, ResolvedImage, StepFailure};
use xbuild_snapshot::Engine;
use xbuild_solve::BuiltImage;

use crate::build::Build;
use crate::error::{During, ExportError, VerifyError};
use crate::images::Bases;
use crate::layer_files;
use crate::request::{BuildRequest, ImageOptions, Target};
use crate::run::Solved;

/// The comparison of an image with what was built, for one platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The platform.
    pub platform: Platform,
    /// The digest of the manifest in the image.
    pub manifest: Digest,
    /// The first difference; `None` if configuration and layers are the same.
    pub difference: Option<ImageDifference>,
}

/// The first difference of two images.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ImageDifference {
    /// A member of the configuration.
    Config {
        /// Its name, with dots between the parts.
        member: String,
        /// Its value in the image, as JSON; `None` if it is not there.
        image: Option<Value>,
        /// Its value in the build.
        built: Option<Value>,
    },
    /// The number of layers.
    Layers {
        /// In the image.
        image: usize,
        /// In the build.
        built: usize,
    },
    /// A layer.
    Layer {
        /// Its number, from 1.
        number: usize,
        /// The instruction that made it, if the history tells.
        instruction: Option<String>,
        /// The difference.
        difference: Difference,
        /// The first byte that differs, if the contents of a file do.
        byte: Option<DifferentByte>,
    },
}

/// The first byte in which two files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DifferentByte {
    /// Its offset.
    pub offset: u64,
    /// Its value in the image; `None` if the file ends before it.
    pub image: Option<u8>,
    /// Its value in the build.
    pub built: Option<u8>,
}

impl ImageDifference {
    /// Returns whether only a time differs.
    pub fn is_time(&self) -> bool {
        match self {
            Self::Config { member, .. } => member.rsplit('.').next() == Some("created"),
            Self::Layer { difference, .. } => matches!(difference.part, DifferentPart::Time(..)),
            Self::Layers { .. } => false,
        }
    }
}

impl fmt::Display for ImageDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        match self {
            Self::Config { member, image, built } => write!(
                f,
                "configuration: {member} is {} in the image, {} in the build",
                text(image),
                text(built)
            ),
            Self::Layers { image, built } => {
                write!(f, "{image} layers in the image, {built} in the build")
            }
            Self::Layer { number, instruction, difference, byte } => {
                write!(f, "layer {number}")?;
                if let Some(instruction) = instruction {
                    write!(f, " ({instruction})")?;
                }
                if let Some(path) = &difference.path {
                    write!(f, ": {path}")?;
                }
                match byte {
                    Some(byte) => write!(f, ": {byte}"),
                    None => write!(f, ": {}", difference.part),
                }
            }
        }
    }
}

impl fmt::Display for DifferentByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |byte: Option<u8>| match byte {
            Some(byte) => format!("{byte:#04x}"),
            None => "beyond the end".to_owned(),
        };
        let Self { offset, image, built } = self;
        write!(f, "byte {offset} is {} in the image, {} in the build", text(*image), text(*built))
    }
}

/// Makes a request build anew what it would build, and send and name nothing. Its outputs say no more
/// than the form of the image. Without platforms of its own it gets those of the image.
///
/// **Errors** — the image has no platform.
pub fn verify_request(request: &mut BuildRequest, image: &Inspection) -> Result<(), VerifyError> {
    request.push = false;
    request.tags.clear();
    request.platform_tags.clear();
    request.steps.no_cache = true;
    // A shared cache could give the very layers that are in doubt.
    request.cache = Default::default();
    request.attestations = Default::default();
    for output in &mut request.outputs {
        if let Target::Image { push, options, names } = &mut output.target {
            (*push, *options) = (false, ImageOptions::default());
            names.clear();
        }
    }
    request.outputs.truncate(1);
    // A Dockerfile for each platform was looked up for those that the request has.
    if request.input.platform_is_implied && request.input.own_dockerfiles.is_empty() {
        let images = image.images.iter().filter(|image| !image.is_attestation());
        let platforms: Vec<Platform> = images.filter_map(InspectedImage::platform).collect();
        if platforms.is_empty() {
            return Err(VerifyError::NoPlatform { name: image.name.clone() });
        }
        request.input.platforms = platforms;
        request.input.platform_is_implied = false;
    }
    Ok(())
}

/// Compares an image with what was built, platform by platform in the order of the build.
///
/// **Errors** — the image lacks a platform, or a layer cannot be read.
pub fn verify(build: &Build, solved: &Solved, name: &str) -> Result<Vec<Verdict>, VerifyError> {
    let _span = build.span.enter();
    let bases = Bases {
        client: &build.client,
        store: Some(&build.store),
        pull: build.request.input.pull,
        gate: None,
        events: &*build.events,
    };
    let form = build.variants[0].layers;
    let images = solved.images(form).map_err(stage)?;
    let verdict = |built: &BuiltImage| {
        let image = bases.resolve(name, &built.platform)?;
        if image.platform != built.platform {
            let [platform, found] = [&built.platform, &image.platform].map(|p| Box::new(p.clone()));
            return Err(VerifyError::OtherPlatform { name: name.to_owned(), platform, found });
        }
        solved.engine.add_image(&image.layers);
        let difference = compare(&solved.engine, &image, built).map_err(stage)?;
        Ok(Verdict { platform: image.platform, manifest: image.manifest.digest, difference })
    };
    images.iter().map(verdict).collect()
}

fn stage(failure: StepFailure) -> VerifyError {
    VerifyError::Compare(Box::new(ExportError::Stage(During::new("comparing")(failure))))
}

/// Returns the first difference. What somebody wrote comes first, then the layers, and times last.
fn compare(
    engine: &Engine,
    image: &ResolvedImage,
    built: &BuiltImage,
) -> Result<Option<ImageDifference>, StepFailure> {
    let [mut one, mut other] = [&image.config, &built.config]
        .map(|config| serde_json::to_value(config).expect("a configuration has string keys only"));
    let times = [&mut one, &mut other].map(take_times);
    for config in [&mut one, &mut other] {
        config.as_object_mut().map(|members| members.remove("rootfs"));
    }
    if let Some(difference) = members("", &one, &other) {
        return Ok(Some(difference));
    }
    let (ones, others) = (&image.config.rootfs.diff_ids, &built.layers.0);
    if ones.len() != others.len() {
        return Ok(Some(ImageDifference::Layers { image: ones.len(), built: others.len() }));
    }
    let mut pairs = ones.iter().zip(others).enumerate();
    if let Some((number, (one, other))) = pairs.find(|(_, (one, other))| one != other) {
        return layer(engine, (number, one, other), &built.config).map(Some);
    }
    let [one, other] = times;
    Ok(members("", &one, &other))
}

/// Takes the times out of a configuration.
fn take_times(config: &mut Value) -> Value {
    let mut times = serde_json::Map::new();
    if let Some(members) = config.as_object_mut() {
        times.extend(members.remove_entry("created"));
    }
    let entries = config.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten();
    let history = entries.map(|entry| {
        let created = entry.as_object_mut().and_then(|entry| entry.remove_entry("created"));
        Value::Object(created.into_iter().collect())
    });
    times.insert("history".to_owned(), history.collect());
    Value::Object(times)
}

/// Returns the first member in which two values differ.
fn members(at: &str, one: &Value, other: &Value) -> Option<ImageDifference> {
    let below = |name: &str| match at {
        "" => name.to_owned(),
        at => format!("{at}.{name}"),
    };
    match (one, other) {
        (Value::Object(mine), Value::Object(yours)) => {
            let names: std::collections::BTreeSet<&String> =
                mine.keys().chain(yours.keys()).collect();
            names.into_iter().find_map(|name| match (mine.get(name), yours.get(name)) {
                (Some(one), Some(other)) => members(&below(name), one, other),
                (image, built) => {
                    let (image, built) = (image.cloned(), built.cloned());
                    Some(ImageDifference::Config { member: below(name), image, built })
                }
            })
        }
        (Value::Array(mine), Value::Array(yours)) if mine.len() == yours.len() => {
            let mut pairs = mine.iter().zip(yours).enumerate();
            pairs
                .find_map(|(number, (one, other))| members(&below(&number.to_string()), one, other))
        }
        (one, other) if one == other => None,
        (one, other) => Some(ImageDifference::Config {
            member: at.to_owned(),
            image: Some(one.clone()),
            built: Some(other.clone()),
        }),
    }
}

fn layer(
    engine: &Engine,
    (number, one, other): (usize, &DiffId, &DiffId),
    config: &ImageConfig,
) -> Result<ImageDifference, StepFailure> {
    let difference = first_difference(&*engine.index(one)?, &*engine.index(other)?);
    let byte = match difference.part {
        DifferentPart::Contents(first, second) => byte(engine, (one, first), (other, second))?,
        _ => None,
    };
    let entry = config.history.iter().filter(|entry| !entry.empty_layer).nth(number);
    let instruction = entry.and_then(|entry| entry.created_by.clone());
    Ok(ImageDifference::Layer { number: number + 1, instruction, difference, byte })
}

/// Returns the first byte in which two files differ, by their layers and positions.
fn byte(
    engine: &Engine,
    (one, first): (&DiffId, u32),
    (other, second): (&DiffId, u32),
) -> Result<Option<DifferentByte>, StepFailure> {
    let mut found = None;
    layer_files::read(engine, one, [first], |_, mine| {
        layer_files::read(engine, other, [second], |_, yours| {
            let (mut mine, mut yours) =
                (BufReader::new(&mut *mine).bytes(), BufReader::new(yours).bytes());
            for offset in 0.. {
                let (image, built) = (mine.next().transpose()?, yours.next().transpose()?);
                if image != built {
                    found = Some(DifferentByte { offset, image, built });
                }
                if image != built || image.is_none() {
                    break;
                }
            }
            Ok(())
        })
        .map_err(std::io::Error::other)
    })?;
    Ok(found)
}
