//! The forms of one image: outputs that want their layers compressed differently have manifests of
//! their own.

use xbuild_model::Reference;

use crate::output::{LayerForm, Output, Target};
use crate::problem::Problem;

/// An image in one form.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// How its layers are compressed.
    pub layers: LayerForm,
    /// The names that it gets.
    pub names: Vec<Reference>,
    /// Where it goes.
    pub targets: Vec<Target>,
}

/// Returns the forms that an image is wanted in. The first is the main one: the result of the build,
/// which `tags` name. It is what the first `type=image` or `registry` asks for, else the first
/// `type=oci`, unless the image is pushed without an output saying so.
///
/// **Errors** — outputs that would put different images under the same names.
pub fn variants(
    tags: Vec<Reference>,
    outputs: &[Output],
    push: bool,
) -> Result<Vec<Variant>, Problem> {
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
        // Files have no layers: those of the main form will do.
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
                return Err(Problem::command_line(
                    "several --output type=image with different compressions need different names",
                )
                .with_hint("give each name=NAME: those of --tag go to the first"));
            }
            variants[place].names.extend(references(names)?);
        }
        variants[place].targets.push(output.target.clone());
    }
    refuse_shared(&variants)?;
    Ok(variants)
}

/// Reads the names of an image.
pub fn references(names: &[String]) -> Result<Vec<Reference>, Problem> {
    let parse = |name: &String| {
        name.parse()
            .map_err(|error: xbuild_model::ReferenceError| Problem::command_line(error.to_string()))
    };
    names.iter().map(parse).collect()
}

/// Refuses a name that two different images would have.
fn refuse_shared(variants: &[Variant]) -> Result<(), Problem> {
    for (place, variant) in variants.iter().enumerate() {
        let others = variants[..place].iter().flat_map(|other| &other.names);
        if let Some(name) = others.into_iter().find(|name| variant.names.contains(name)) {
            return Err(Problem::command_line(format!(
                "{name} is the name of two outputs with different compressions"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::parse;

    fn shapes(tags: &[&str], outputs: &[&str], push: bool) -> Result<Vec<String>, Problem> {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let outputs: Vec<Output> = outputs.iter().map(|text| parse(text).unwrap()).collect();
        let shape = |variant: Variant| {
            let names: Vec<_> = variant.names.iter().map(|name| name.repository()).collect();
            format!("{} {} {}", variant.layers.encoding, names.join("+"), variant.targets.len())
        };
        Ok(variants(tags, &outputs, push)?.into_iter().map(shape).collect())
    }

    #[test]
    fn outputs_of_one_form_are_one_image() {
        for (tags, outputs, push, expected) in [
            (&["r.example/a"][..], &[][..], false, &["gzip-3 a 1"][..]),
            (&["r.example/a"], &["type=oci,dest=x,compression=zstd"], false, &["zstd-3 a 1"]),
            (
                &["r.example/a"],
                &["type=oci,dest=x,compression=zstd"],
                true,
                &["gzip-3 a 0", "zstd-3  1"],
            ),
            (
                &["r.example/a"],
                &[
                    "type=oci,dest=x",
                    "type=registry,compression=zstd",
                    "type=local,dest=y",
                    "type=image,name=r.example/b",
                ],
                false,
                &["zstd-3 a 2", "gzip-3 b 2"],
            ),
        ] {
            let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            if outputs.is_empty() {
                expected = vec!["gzip-3 a 0".to_owned()];
            }
            assert_eq!(shapes(tags, outputs, push).unwrap(), expected, "{outputs:?}");
        }
    }

    #[test]
    fn a_name_is_that_of_one_image() {
        let zstd = "type=image,compression=zstd";
        let nameless = shapes(&["r.example/a"], &["type=image", zstd], false).unwrap_err();
        assert!(nameless.message().contains("different names"), "{}", nameless.message());
        let twice = [zstd, "type=image,name=r.example/a"];
        let twice = shapes(&["r.example/a"], &twice, false).unwrap_err();
        assert!(twice.message().contains("two outputs"), "{}", twice.message());
    }
}
