//! `docs/openapi.yaml`, as far as this program reads it.

use super::shape::{Field, Shape};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A description in OpenAPI.
pub struct Document(Value);

impl Document {
    /// Reads it from a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
        Ok(Self(serde_yaml_ng::from_str(&text).with_context(|| format!("reading {path:?}"))?))
    }

    /// The shape that `components/schemas/NAME` describes.
    pub fn schema(&self, name: &str) -> anyhow::Result<Shape> {
        self.shape(self.named(name)?)
    }

    /// The fields of `components/schemas/NAME`, each with its schema: first those that are
    /// required, in the order in which they are, for the reader keeps no other.
    pub fn fields(&self, name: &str) -> anyhow::Result<Vec<(&str, &Value)>> {
        let schema = self.named(name)?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.with_context(|| format!("schema {name} has no properties"))?;
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: Vec<_> = required.filter_map(Value::as_str).collect();
        let place = |name: &str| required.iter().position(|it| *it == name).unwrap_or(usize::MAX);
        let mut fields: Vec<_> = properties.iter().map(|(name, it)| (name.as_str(), it)).collect();
        fields.sort_by_key(|(name, _)| place(name));
        Ok(fields)
    }

    /// The schema itself, or the one that it refers to.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> anyhow::Result<&'a Value> {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else { return Ok(schema) };
        let name = target.strip_prefix("#/components/schemas/");
        self.named(name.with_context(|| format!("cannot follow {target}"))?)
    }

    fn named(&self, name: &str) -> anyhow::Result<&Value> {
        let schemas = &self.0["components"]["schemas"];
        schemas.get(name).with_context(|| format!("there is no schema {name}"))
    }

    /// The shape that a schema describes.
    pub fn shape(&self, schema: &Value) -> anyhow::Result<Shape> {
        let schema = self.resolved(schema)?;
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            return self.choice(choices);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str).map(ToOwned::to_owned);
            return Ok(Shape::Words(words.collect()));
        }
        if let Some([schema, _null]) =
            schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
        {
            return Ok(Shape::Nullable(Box::new(self.shape(schema)?)));
        }
        let kind = schema.get("type").with_context(|| format!("no type in {schema}"))?;
        let Some(kinds) = kind.as_array() else { return self.simple(kind, schema) };
        match kinds.as_slice() {
            [kind, null] if null == "null" => {
                Ok(Shape::Nullable(Box::new(self.simple(kind, schema)?)))
            }
            _ => bail!("no shape for {schema}"),
        }
    }

    fn simple(&self, kind: &Value, schema: &Value) -> anyhow::Result<Shape> {
        Ok(match kind.as_str().unwrap_or_default() {
            "boolean" => Shape::Boolean,
            "integer" => Shape::Integer,
            "number" => Shape::Number,
            "string" => Shape::Text,
            "array" => Shape::List(Box::new(self.shape(&schema["items"])?)),
            "object" => Shape::Object(self.object(schema, None)?),
            _ => bail!("no shape for {schema}"),
        })
    }

    /// Objects that are told apart by the constant in their field `command`.
    fn choice(&self, choices: &[Value]) -> anyhow::Result<Shape> {
        let choices = choices.iter().map(|schema| {
            let name = schema["properties"]["command"]["const"].as_str();
            let name = name.with_context(|| format!("no command in {schema}"))?;
            Ok((name.to_owned(), Shape::Object(self.object(schema, Some("command"))?)))
        });
        Ok(Shape::Choice(choices.collect::<anyhow::Result<_>>()?))
    }

    fn object(&self, schema: &Value, but: Option<&str>) -> anyhow::Result<BTreeMap<String, Field>> {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|required| required.iter().any(|it| it.as_str() == Some(name)))
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        let fields =
            properties.filter(|(name, _)| Some(name.as_str()) != but).map(|(name, schema)| {
                let shape = self.shape(schema).with_context(|| format!("field {name}"))?;
                Ok((name.clone(), Field { shape, is_required: is_required(name) }))
            });
        fields.collect()
    }
}
