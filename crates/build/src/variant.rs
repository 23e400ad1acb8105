//! The forms of one image: each compression of layers makes manifests of its own.

use xbuild_model::Reference;

use crate::error::RequestError;
use crate::request::{
    BuildRequest, ImageOptions, LayerForm, ManifestForm, Output, PlatformTag, Target,
};

/// An image in one form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    /// The compression of its layers.
    pub(crate) layers: LayerForm,
    /// Its manifests.
    pub(crate) manifests: ManifestForm,
    /// Its names.
    pub(crate) names: Vec<Reference>,
    /// Its outputs.
    pub(crate) outputs: Vec<Output>,
    /// Whether it is pushed.
    pub(crate) is_pushed: bool,
}

impl Variant {
    /// Returns the options of its first image, if it has one.
    pub(crate) fn image(&self) -> Option<ImageOptions> {
        self.outputs.iter().find_map(|output| match &output.target {
            Target::Image { options, .. } => Some(*options),
            _ => None,
        })
    }

    /// Returns whether it is pushed without a tag.
    pub(crate) fn is_by_digest(&self) -> bool {
        self.image().is_some_and(|options| options.by_digest)
    }
}

/// Returns the forms of the image, at least one. The first is the main form, which gets the tags:
/// the form of the first `type=image` or `registry`, else the default form if the image is pushed,
/// else the form of the first `type=oci`.
///
/// **Errors** — a name is missing, or has a digest, or belongs to two images that differ.
pub(crate) fn variants(request: &BuildRequest) -> Result<Vec<Variant>, RequestError> {
    let variants = group(request.tags.clone(), &request.outputs, request.push)?;
    let of_platforms = request.platform_tags.iter().map(|tag| &tag.name);
    let mut names = variants.iter().flat_map(|variant| &variant.names).chain(of_platforms);
    if request.is_pushed() && names.clone().next().is_none() {
        return Err(RequestError::NoName);
    }
    refuse_forms(request, &variants)?;
    refuse_twice(request, &variants)?;
    refuse_others(request)?;
    match names.find(|name| name.digest().is_some()) {
        Some(name) => Err(RequestError::NameWithDigest { name: Box::new(name.clone()) }),
        None => Ok(variants),
    }
}

/// Refuses other images beside one that is pushed by its digest alone.
fn refuse_others(request: &BuildRequest) -> Result<(), RequestError> {
    let is_other = |output: &Output| match &output.target {
        Target::Image { options, push, .. } => !(options.by_digest && *push),
        _ => false,
    };
    match request.is_by_digest() && request.outputs.iter().any(is_other) {
        true => Err(RequestError::SeveralByDigest),
        false => Ok(()),
    }
}

/// Returns the registries of images that need no certificate there.
pub(crate) fn insecure(variants: &[Variant]) -> Vec<String> {
    let insecure = variants.iter().filter(|variant| {
        let is_insecure = |output: &Output| match &output.target {
            Target::Image { options, .. } => options.insecure,
            _ => false,
        };
        variant.outputs.iter().any(is_insecure)
    });
    let names = insecure.flat_map(|variant| &variant.names);
    names.map(|name| name.registry().to_owned()).collect()
}

/// Refuses forms whose parts exclude each other.
fn refuse_forms(request: &BuildRequest, variants: &[Variant]) -> Result<(), RequestError> {
    let has_index = request.input.platforms.len() != 1 || request.always_has_index();
    for variant in variants {
        let annotations = request.annotations.with(&variant.manifests.annotations);
        if annotations.need_index() && !has_index {
            return Err(RequestError::NoIndex);
        }
        if variant.manifests.docker_types && !annotations.are_none() {
            return Err(RequestError::DockerAnnotations);
        }
        if variant.manifests.docker_types && !request.attestations.are_none() {
            return Err(RequestError::DockerAttestations);
        }
        let is_tagged = |name: &&Reference| !matches!(name.tag(), None | Some("latest"));
        if variant.is_by_digest()
            && let Some(name) = variant.names.iter().find(is_tagged)
        {
            return Err(RequestError::TagByDigest { name: Box::new(name.clone()) });
        }
    }
    Ok(())
}

/// Refuses a name of one platform that is also that of another, or of the whole.
fn refuse_twice(request: &BuildRequest, variants: &[Variant]) -> Result<(), RequestError> {
    let tags = &request.platform_tags;
    for (place, tag) in tags.iter().enumerate() {
        let is_whole = request.input.platforms.len() > 1
            && variants.iter().any(|variant| variant.names.contains(&tag.name));
        let same = |other: &&PlatformTag| other.name == tag.name;
        let other = tags[..place].iter().find(same).map(|other| other.platform.clone());
        if is_whole || other.as_ref().is_some_and(|other| *other != tag.platform) {
            let (name, platform) = (Box::new(tag.name.clone()), Box::new(tag.platform.clone()));
            return Err(RequestError::PlatformName { name, platform, other: Box::new(other) });
        }
    }
    Ok(())
}

/// Groups outputs by their forms.
fn group(
    tags: Vec<Reference>,
    outputs: &[Output],
    push: bool,
) -> Result<Vec<Variant>, RequestError> {
    let is_image = |output: &&Output| matches!(output.target, Target::Image { .. });
    let is_layout = |output: &&Output| {
        matches!(
            output.target,
            Target::OciTar(_) | Target::OciFolder(_) | Target::Docker(_) | Target::Engine
        )
    };
    let form = |output: &Output| (output.layers, output.manifests.clone());
    let main = match outputs.iter().find(is_image) {
        Some(image) => form(image),
        None if push => Default::default(),
        None => outputs.iter().find(is_layout).map(form).unwrap_or_default(),
    };
    let variant = |(layers, manifests), names| {
        let (outputs, is_pushed) = (Vec::new(), false);
        Variant { layers, manifests, names, outputs, is_pushed }
    };
    let mut variants = vec![variant(main.clone(), tags)];
    variants[0].is_pushed = push;
    for output in outputs {
        // Files have no layers: the main form will do.
        let form = match is_image(&output) || is_layout(&output) {
            true => form(output),
            false => main.clone(),
        };
        let same = |variant: &Variant| (variant.layers, &variant.manifests) == (form.0, &form.1);
        let place = variants.iter().position(same);
        let place = place.unwrap_or_else(|| {
            variants.push(variant(form.clone(), Vec::new()));
            variants.len() - 1
        });
        if let Target::Image { names, push, .. } = &output.target {
            if names.is_empty() && place > 0 {
                return Err(RequestError::NamelessForm);
            }
            variants[place].names.extend(names.iter().cloned());
            variants[place].is_pushed |= push;
        }
        variants[place].outputs.push(output.clone());
    }
    refuse_shared(&variants)?;
    Ok(variants)
}

/// Refuses a name of two images that differ.
fn refuse_shared(variants: &[Variant]) -> Result<(), RequestError> {
    for (place, variant) in variants.iter().enumerate() {
        let others = variants[..place].iter().flat_map(|other| &other.names);
        if let Some(name) = others.into_iter().find(|name| variant.names.contains(name)) {
            return Err(RequestError::SharedName { name: Box::new(name.clone()) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Split;
    use xbuild_layer::Encoding;
    use xbuild_model::manifest::Compression;

    fn output(target: Target, compression: Compression) -> Output {
        let encoding = Encoding::new(compression, None).unwrap();
        Output { layers: LayerForm { encoding, ..LayerForm::default() }, ..Output::new(target) }
    }

    fn oci(compression: Compression) -> Output {
        output(Target::OciTar(Some("x".into())), compression)
    }

    fn image(names: &[&str], push: bool, compression: Compression) -> Output {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        output(Target::Image { names, push, options: ImageOptions::default() }, compression)
    }

    fn shapes(tags: &[&str], outputs: &[Output], push: bool) -> Result<Vec<String>, RequestError> {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let shape = |variant: Variant| {
            let names: Vec<_> = variant.names.iter().map(|name| name.repository()).collect();
            format!("{} {} {}", variant.layers.encoding, names.join("+"), variant.outputs.len())
        };
        Ok(group(tags, outputs, push)?.into_iter().map(shape).collect())
    }

    #[test]
    fn outputs_of_one_form_are_one_image() {
        use Compression::{Gzip, Zstd};
        let tags = ["r.example/a"];
        let local = output(Target::Local("y".into(), Split::Several), Gzip);
        let four = [oci(Gzip), image(&[], true, Zstd), local, image(&["r.example/b"], false, Gzip)];
        for (outputs, push, expected) in [
            (&[][..], false, &["gzip-3 a 0"][..]),
            (&[oci(Zstd)], false, &["zstd-3 a 1"]),
            (&[oci(Zstd)], true, &["gzip-3 a 0", "zstd-3  1"]),
            (&four, false, &["zstd-3 a 2", "gzip-3 b 2"]),
        ] {
            assert_eq!(shapes(&tags, outputs, push).unwrap(), expected, "{outputs:?}");
        }
    }

    #[test]
    fn a_name_is_that_of_one_image() {
        use Compression::{Gzip, Zstd};
        let tags = ["r.example/a"];
        let nameless = [image(&[], false, Gzip), image(&[], false, Zstd)];
        let nameless = shapes(&tags, &nameless, false).unwrap_err();
        assert!(matches!(nameless, RequestError::NamelessForm), "{nameless}");
        let twice = [image(&[], false, Zstd), image(&["r.example/a"], false, Gzip)];
        let twice = shapes(&tags, &twice, false).unwrap_err();
        assert!(matches!(twice, RequestError::SharedName { .. }), "{twice}");
    }
}
