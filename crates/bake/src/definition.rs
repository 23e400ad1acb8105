//! What files define: variables, functions, groups and targets, before any expression is worked out.

use std::collections::BTreeMap;
use std::sync::Arc;

use xbuild_wording::quoted;

use crate::convert::Type;
use crate::error::BakeError;
use crate::hcl;
use crate::place::{Place, without_mark};
use crate::scope::Function;
use crate::syntax::{Block, Body, Expr, Kind};
use crate::value::Value;

/// The content of all files in one of the forms of HCL.
#[derive(Debug, Default)]
pub(crate) struct Definition {
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Attributes outside of blocks: variables that nothing overrides.
    pub(crate) attributes: BTreeMap<String, Expr>,
    pub(crate) functions: BTreeMap<String, Function>,
    /// Blocks `group`, in the order of the files.
    pub(crate) groups: Vec<Block>,
    /// Blocks `target`, in the order of the files.
    pub(crate) targets: Vec<Block>,
}

/// A variable.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) default: Option<Expr>,
    pub(crate) wanted: Option<Type>,
    pub(crate) description: String,
    pub(crate) validations: Vec<Validation>,
    pub(crate) place: Place,
}

/// A condition that a variable has to meet.
#[derive(Debug)]
pub(crate) struct Validation {
    pub(crate) condition: Expr,
    pub(crate) message: Expr,
}

impl Definition {
    /// Adds the content of a file. `is_json` if strings may stand for names and types.
    pub(crate) fn add(&mut self, body: Body, is_json: bool) -> Result<(), BakeError> {
        for attribute in body.attributes {
            self.attributes.insert(attribute.name, attribute.value);
        }
        for block in body.blocks {
            let place = block.place.clone();
            let fail = |reason: String| Err(BakeError::invalid(&place, reason));
            if !matches!(block.kind.as_str(), "function" | "group" | "target" | "variable") {
                return fail(format!(
                    "there are no blocks {}: expected target, group, variable or function",
                    quoted(&block.kind)
                ));
            }
            let [label] = &block.labels[..] else {
                return fail(format!("a block {} has one label, its name", quoted(&block.kind)));
            };
            match block.kind.as_str() {
                "variable" => {
                    let variable = variable(&block, is_json)?;
                    self.variables.insert(label.clone(), variable);
                }
                "function" => {
                    let function = function(&block, is_json)?;
                    self.functions.insert(label.clone(), function);
                }
                "group" => self.groups.push(block),
                _ => self.targets.push(block),
            }
        }
        Ok(())
    }
}

fn variable(block: &Block, is_json: bool) -> Result<Variable, BakeError> {
    let mut variable = Variable {
        default: None,
        wanted: None,
        description: String::new(),
        validations: Vec::new(),
        place: block.place.clone(),
    };
    for attribute in &block.body.attributes {
        let value = &attribute.value;
        match attribute.name.as_str() {
            "default" => variable.default = Some(value.clone()),
            "type" => variable.wanted = Some(Type::parse(&as_code(value, is_json)?)?),
            "description" => match &value.kind {
                Kind::Literal(Value::String(text)) => variable.description.clone_from(text),
                Kind::Literal(Value::Null) => {}
                _ => return Err(BakeError::invalid(&value.place, "the description is a string")),
            },
            // Marks of other tools, as in buildx.
            _ => {}
        }
    }
    for validation in &block.body.blocks {
        if validation.kind != "validation" {
            let reason = format!("a variable has no blocks {}", quoted(&validation.kind));
            return Err(BakeError::invalid(&validation.place, reason));
        }
        let part = |name: &str| {
            let missing = || BakeError::invalid(&validation.place, format!("{name} is missing"));
            validation.body.attribute(name).cloned().ok_or_else(missing)
        };
        let (condition, message) = (part("condition")?, part("error_message")?);
        variable.validations.push(Validation { condition, message });
    }
    Ok(variable)
}

/// Reads the string of a JSON file as an expression: the name of a type or parameter.
fn as_code(expr: &Expr, is_json: bool) -> Result<Expr, BakeError> {
    match &expr.kind {
        Kind::Literal(Value::String(text)) if is_json => {
            hcl::template(&format!("${{{text}}}"), &expr.place)
        }
        _ => Ok(expr.clone()),
    }
}

fn function(block: &Block, is_json: bool) -> Result<Function, BakeError> {
    let part = |name: &str| {
        let missing =
            || BakeError::invalid(&block.place, format!("{name} of the function is missing"));
        block.body.attribute(name).ok_or_else(missing)
    };
    let param = |expr: &Expr| match as_code(expr, is_json)?.kind {
        Kind::Variable(name) => Ok(name),
        _ => Err(BakeError::invalid(&expr.place, "a parameter is a name")),
    };
    let list = part("params")?;
    let Kind::Tuple(params) = &list.kind else {
        return Err(BakeError::invalid(&list.place, "the parameters are a list of names"));
    };
    Ok(Function {
        params: params.iter().map(param).collect::<Result<_, _>>()?,
        variadic: block.body.attribute("variadic_params").map(param).transpose()?,
        result: part("result")?.clone(),
    })
}

/// Reads a file in one of the forms of HCL, which its name says, else its text.
pub(crate) fn read(definition: &mut Definition, name: &str, text: &str) -> Result<(), BakeError> {
    let file = Arc::from(name);
    let text = without_mark(text);
    let is_json = match (name.ends_with(".json"), name.ends_with(".hcl")) {
        (true, _) => true,
        (_, true) => false,
        _ => text.trim_start().starts_with('{'),
    };
    let body = match is_json {
        true => crate::hcl_json::body(&file, text)?,
        false => hcl::body(&file, text)?,
    };
    definition.add(body, is_json)
}
