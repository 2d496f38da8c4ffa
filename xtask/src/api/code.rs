//! What the code reads and writes as JSON, asked of serde.

use super::shape::{Field, Shape};
use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_reflection::{ContainerFormat, Format, Registry, Samples, Tracer, TracerConfig};
use std::collections::{BTreeMap, BTreeSet};

/// A name that no variant or field has.
const NOBODY: &str = "?";

/// An enum of words: `words::<TheEnum>`.
pub type Words = fn(&mut Tracer) -> anyhow::Result<()>;

/// The shape of a struct, or of an enum of words. A struct shows one word of each enum in it, so
/// its enums are traced by themselves, as `words`.
pub fn traced<T: DeserializeOwned>(words: &[Words]) -> anyhow::Result<Shape> {
    let mut tracer = Tracer::new(TracerConfig::default());
    words.iter().try_for_each(|trace| trace(&mut tracer))?;
    let format = trace::<T>(&mut tracer)?;
    let registry = tracer.registry().map_err(fault)?;
    shape(&format, &registry)
}

/// Traces an enum of words.
pub fn words<T: DeserializeOwned>(tracer: &mut Tracer) -> anyhow::Result<()> {
    trace::<T>(tracer).map(drop)
}

fn trace<T: DeserializeOwned>(tracer: &mut Tracer) -> anyhow::Result<Format> {
    let (format, _) = tracer.trace_type::<T>(&Samples::new()).map_err(fault)?;
    Ok(format)
}

fn fault(error: serde_reflection::Error) -> anyhow::Error {
    anyhow!("tracing a type: {error}")
}

fn shape(format: &Format, registry: &Registry) -> anyhow::Result<Shape> {
    use Format::{
        Bool, F32, F64, I8, I16, I32, I64, Option, Seq, Str, TypeName, U8, U16, U32, U64,
    };
    Ok(match format {
        Bool => Shape::Boolean,
        I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 => Shape::Integer,
        F32 | F64 => Shape::Number,
        Str => Shape::Text,
        Option(inner) => Shape::Nullable(Box::new(shape(inner, registry)?)),
        Seq(inner) => Shape::List(Box::new(shape(inner, registry)?)),
        TypeName(name) => container(registry.get(name).context("unknown type")?, registry)?,
        other => bail!("no shape for {other:?}"),
    })
}

fn container(format: &ContainerFormat, registry: &Registry) -> anyhow::Result<Shape> {
    match format {
        ContainerFormat::NewTypeStruct(inner) => shape(inner, registry),
        ContainerFormat::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let shape = shape(&field.value, registry)?;
                Ok((field.name.clone(), Field { shape, is_required: true }))
            });
            Ok(Shape::Object(fields.collect::<anyhow::Result<_>>()?))
        }
        ContainerFormat::Enum(variants) => {
            Ok(Shape::Words(variants.values().map(|variant| variant.name.clone()).collect()))
        }
        other => bail!("no shape for {other:?}"),
    }
}

/// The shapes of an enum that names its variant in a field `command` and refuses unknown fields.
pub fn commands<T: DeserializeOwned>() -> anyhow::Result<Shape> {
    let variants = variants::<T>("command")?.into_iter();
    let shapes = variants.map(|variant| {
        let shape = fields::<T>(&variant).with_context(|| format!("asking for {variant}"))?;
        Ok((variant, shape))
    });
    Ok(Shape::Choice(shapes.collect::<anyhow::Result<_>>()?))
}

/// The variants of an enum that names them in the field `tag`.
pub fn variants<T: DeserializeOwned>(tag: &str) -> anyhow::Result<BTreeSet<String>> {
    let error = refusal::<T>(&json!({ tag: NOBODY })).context("a variant without a name")?;
    expected(&error, "unknown variant").context("no list of variants")
}

/// The fields of one command: serde's refusals name them, and what each may hold.
fn fields<T: DeserializeOwned>(variant: &str) -> anyhow::Result<Shape> {
    let with = |fields: &[(&str, &Value)]| {
        let mut body = json!({ "command": variant });
        for (name, value) in fields {
            body[*name] = (*value).clone();
        }
        body
    };
    let error = refusal::<T>(&with(&[(NOBODY, &json!(0))])).context("unknown fields are taken")?;
    let names = expected(&error, "unknown field").context("no list of fields")?;
    let mut known = BTreeMap::new();
    for name in &names {
        let asked = |value: &Value| refusal::<T>(&with(&[(name, value)]));
        known.insert(name.as_str(), held(asked).with_context(|| format!("field {name}"))?);
    }
    let mut fields = BTreeMap::new();
    for name in &names {
        let others = known.iter().filter(|(other, _)| **other != name.as_str());
        let others: Vec<_> = others.map(|(other, (_, sample))| (*other, sample)).collect();
        let is_required = refusal::<T>(&with(&others)).is_some();
        let shape = known[name.as_str()].0.clone();
        fields.insert(name.clone(), Field { shape, is_required });
    }
    Ok(Shape::Object(fields))
}

/// What a field may hold, with an example, from how values are answered.
fn held(asked: impl Fn(&Value) -> Option<String>) -> anyhow::Result<(Shape, Value)> {
    // Whether other fields are missing is another question.
    let is_taken = |value: &Value| asked(value).is_none_or(|error| error.contains("missing field"));
    let (shape, sample) = if let Some(words) =
        asked(&json!(NOBODY)).and_then(|error| expected(&error, "unknown variant"))
    {
        let sample = json!(words.first().context("an enum without variants")?);
        (Shape::Words(words), sample)
    } else if is_taken(&json!("1")) {
        (Shape::Text, json!("1"))
    } else if is_taken(&json!(1)) {
        let shape = if is_taken(&json!(0.5)) { Shape::Number } else { Shape::Integer };
        (shape, json!(1))
    } else if is_taken(&json!(true)) {
        (Shape::Boolean, json!(true))
    } else {
        bail!("takes neither words, numbers nor booleans")
    };
    let shape = if is_taken(&Value::Null) { Shape::Nullable(Box::new(shape)) } else { shape };
    Ok((shape, sample))
}

/// Why serde does not take `body` for a `T`.
fn refusal<T: DeserializeOwned>(body: &Value) -> Option<String> {
    T::deserialize(body).err().map(|error| error.to_string())
}

/// The names that a refusal of `kind` lists, as in ``unknown field `?`, expected `a` or `b` ``.
fn expected(error: &str, kind: &str) -> Option<BTreeSet<String>> {
    let list = error.strip_prefix(&format!("{kind} `{NOBODY}`, "))?;
    Some(list.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect())
}
