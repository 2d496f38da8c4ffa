//! The JSON form of OpenTelemetry's protocol: the body of `POST /v1/metrics` (OTLP 1.0, "OTLP/HTTP").
//!
//! Names and labels are those of the text format, so that the same questions can be asked of both. In
//! JSON, 64-bit numbers are strings (OTLP, "JSON Protobuf Encoding").

use super::families::{Format, Kind, Labels, Number, PREFIX};
use crate::status::HistogramRow;
use serde::Serialize;

/// Of what instance metrics are.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// What tells it from other instances of this machine.
    pub id: &'a str,
    /// The name of the machine.
    pub host: &'a str,
    /// When it began to count, in nanoseconds since 1970. Another time would mean that counts have
    /// begun anew.
    pub started: u64,
}

/// Families that have been written.
pub(super) struct Export {
    started: String,
    now: String,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
    #[serde(flatten)]
    data: Data,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Data {
    Gauge {
        #[serde(rename = "dataPoints")]
        points: Vec<Point>,
    },
    Sum {
        #[serde(rename = "aggregationTemporality")]
        temporality: u8,
        #[serde(rename = "isMonotonic")]
        is_monotonic: bool,
        #[serde(rename = "dataPoints")]
        points: Vec<Point>,
    },
    Histogram {
        #[serde(rename = "aggregationTemporality")]
        temporality: u8,
        #[serde(rename = "dataPoints")]
        points: Vec<Distribution>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<String>,
    time_unix_nano: String,
    #[serde(flatten)]
    value: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value {
    AsInt(String),
    AsDouble(f64),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Distribution {
    attributes: Vec<Attribute>,
    start_time_unix_nano: String,
    time_unix_nano: String,
    count: String,
    sum: f64,
    bucket_counts: Vec<String>,
    explicit_bounds: Vec<f64>,
}

#[derive(Serialize)]
struct Attribute {
    key: String,
    value: Text,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    string_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    resource_metrics: [OfResource; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfResource {
    resource: Resource,
    scope_metrics: [OfScope; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct OfScope {
    scope: Scope,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: String,
}

/// Points say what has been counted since the start (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u8 = 2;

impl Export {
    /// Of counts from `started` to `now`, in nanoseconds since 1970.
    pub fn new(started: u64, now: u64) -> Self {
        Self { started: started.to_string(), now: now.to_string(), metrics: Vec::new() }
    }

    /// The body of the request.
    pub fn into_json(self, instance: &Instance<'_>, version: &str) -> String {
        let attributes = [
            ("service.name", "evenkeel"),
            ("service.instance.id", instance.id),
            ("service.version", version),
            ("host.name", instance.host),
        ];
        let attributes = attributes.map(|(key, value)| attribute(key.to_owned(), value.to_owned()));
        let scope = Scope { name: "evenkeel", version: version.to_owned() };
        let of_scope = OfScope { scope, metrics: self.metrics };
        let resource = Resource { attributes: attributes.into() };
        let body = Body { resource_metrics: [OfResource { resource, scope_metrics: [of_scope] }] };
        // Nothing in it can fail: keys are strings.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl Format for Export {
    fn begin(&mut self, kind: Kind, name: &str, help: &str) {
        let data = match kind {
            Kind::Gauge => Data::Gauge { points: Vec::new() },
            Kind::Counter => {
                Data::Sum { temporality: CUMULATIVE, is_monotonic: true, points: Vec::new() }
            }
            Kind::Histogram => Data::Histogram { temporality: CUMULATIVE, points: Vec::new() },
        };
        let (name, description) = (format!("{PREFIX}{name}"), help.to_owned());
        let unit = unit(&name);
        self.metrics.push(Metric { name, description, unit, data });
    }

    fn sample(&mut self, labels: &Labels, value: Number) {
        let Some(metric) = self.metrics.last_mut() else { return };
        let (points, started) = match &mut metric.data {
            Data::Gauge { points } => (points, None),
            Data::Sum { points, .. } => (points, Some(self.started.clone())),
            Data::Histogram { .. } => return,
        };
        points.push(Point {
            attributes: attributes(labels),
            start_time_unix_nano: started,
            time_unix_nano: self.now.clone(),
            value: match value {
                Number::Whole(value) => Value::AsInt(value.min(i64::MAX as u64).to_string()),
                Number::Real(value) => Value::AsDouble(value),
            },
        });
    }

    fn distribution(&mut self, labels: &Labels, bounds: &[f64], row: &HistogramRow) {
        let Some(Metric { data: Data::Histogram { points, .. }, .. }) = self.metrics.last_mut()
        else {
            return;
        };
        let buckets = &row.buckets[..bounds.len().min(row.buckets.len())];
        let beyond = row.count.saturating_sub(buckets.iter().sum());
        let counts = buckets.iter().copied().chain([beyond]);
        points.push(Distribution {
            attributes: attributes(labels),
            start_time_unix_nano: self.started.clone(),
            time_unix_nano: self.now.clone(),
            count: row.count.to_string(),
            sum: row.sum_seconds,
            bucket_counts: counts.map(|it| it.to_string()).collect(),
            explicit_bounds: bounds[..buckets.len()].to_vec(),
        });
    }

    fn comment(&mut self, _text: &str) {}
}

fn attributes(labels: &Labels) -> Vec<Attribute> {
    labels.pairs().into_iter().map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: String, value: String) -> Attribute {
    Attribute { key, value: Text { string_value: value } }
}

/// The unit that the name of a metric ends in, as UCUM writes it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::Families;
    use super::*;

    #[test]
    fn every_kind_of_family_is_written_as_the_protocol_says() {
        let row = HistogramRow { count: 6, sum_seconds: 2.5, buckets: vec![1, 2] };
        let labels = Labels::of(&[("pool", &"a \"b\"")]);
        let instance = Instance { id: "web", host: "lb1", started: 1_000_000_000 };
        let mut export = Export::new(instance.started, 3_500_000_000);
        let mut to = Families(&mut export);
        to.comment("for people");
        to.gauge("up", "Whether", [(&labels, 1_u8)]);
        to.counter("sent_bytes_total", "Bytes", [(&labels, u64::MAX)]);
        to.counter("busy_seconds_total", "Time", [(&Labels::default(), 1.0)]);
        to.histogram("rtt_seconds", "Times", &[0.25, 1.0], [(&labels, &row)]);
        let json = export.into_json(&instance, "0.1.0");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    }
}
