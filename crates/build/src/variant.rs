//! The forms of one image: each compression of layers makes manifests of its own.

use xbuild_model::Reference;

use crate::error::RequestError;
use crate::request::{BuildRequest, LayerForm, Output, PlatformTag, Target};

/// An image in one form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    /// The compression of its layers.
    pub(crate) layers: LayerForm,
    /// Its names.
    pub(crate) names: Vec<Reference>,
    /// Its outputs.
    pub(crate) targets: Vec<Target>,
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
    refuse_twice(request, &variants)?;
    refuse_tags(request, &variants)?;
    match names.find(|name| name.digest().is_some()) {
        Some(name) => Err(RequestError::NameWithDigest { name: Box::new(name.clone()) }),
        None => Ok(variants),
    }
}

/// Refuses tags of an image that is pushed by its digest alone.
fn refuse_tags(request: &BuildRequest, variants: &[Variant]) -> Result<(), RequestError> {
    if !request.is_by_digest() {
        return Ok(());
    }
    let has_tags = !request.tags.is_empty() || !request.platform_tags.is_empty();
    let is_other = |output: &Output| matches!(output.target, Target::Image { by_digest, push, .. } if !(by_digest && push));
    match () {
        () if has_tags => Err(RequestError::TagByDigest),
        () if variants.len() > 1 || request.outputs.iter().any(is_other) => {
            Err(RequestError::SeveralByDigest)
        }
        () => Ok(()),
    }
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

/// Groups outputs by the compression of their layers.
fn group(
    tags: Vec<Reference>,
    outputs: &[Output],
    push: bool,
) -> Result<Vec<Variant>, RequestError> {
    let is_image = |output: &&Output| matches!(output.target, Target::Image { .. });
    let is_layout =
        |output: &&Output| matches!(output.target, Target::OciTar(_) | Target::OciFolder(_));
    let main = match outputs.iter().find(is_image) {
        Some(image) => image.layers,
        None if push => LayerForm::default(),
        None => outputs.iter().find(is_layout).map(|output| output.layers).unwrap_or_default(),
    };
    let mut variants = vec![Variant { layers: main, names: tags, targets: Vec::new() }];
    for output in outputs {
        // Files have no layers: the main form will do.
        let layers = match is_image(&output) || is_layout(&output) {
            true => output.layers,
            false => main,
        };
        let place = variants.iter().position(|variant| variant.layers == layers);
        let place = place.unwrap_or_else(|| {
            variants.push(Variant { layers, names: Vec::new(), targets: Vec::new() });
            variants.len() - 1
        });
        if let Target::Image { names, .. } = &output.target {
            if names.is_empty() && place > 0 {
                return Err(RequestError::NamelessForm);
            }
            variants[place].names.extend(names.iter().cloned());
        }
        variants[place].targets.push(output.target.clone());
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
    use xbuild_layer::Encoding;
    use xbuild_model::manifest::Compression;

    fn output(target: Target, compression: Compression) -> Output {
        let encoding = Encoding::new(compression, None).unwrap();
        Output { target, layers: LayerForm { encoding, force: false } }
    }

    fn oci(compression: Compression) -> Output {
        output(Target::OciTar(Some("x".into())), compression)
    }

    fn image(names: &[&str], push: bool, compression: Compression) -> Output {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        output(Target::Image { names, push, by_digest: false }, compression)
    }

    fn shapes(tags: &[&str], outputs: &[Output], push: bool) -> Result<Vec<String>, RequestError> {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let shape = |variant: Variant| {
            let names: Vec<_> = variant.names.iter().map(|name| name.repository()).collect();
            format!("{} {} {}", variant.layers.encoding, names.join("+"), variant.targets.len())
        };
        Ok(group(tags, outputs, push)?.into_iter().map(shape).collect())
    }

    #[test]
    fn outputs_of_one_form_are_one_image() {
        use Compression::{Gzip, Zstd};
        let tags = ["r.example/a"];
        let local = output(Target::Local("y".into()), Gzip);
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
