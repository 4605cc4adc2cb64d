//! What Envoy's process tells about itself: metrics, hosts, memory.

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Stack;

/// One reading of `/stats/prometheus`.
#[derive(Clone, Debug)]
pub struct Metrics(String);

/// The counters of authgate's whose names don't end in `_total`.
const COUNTERS: [&str; 2] = ["auth_token_type_requests", "auth_public_key_cache_hits"];

/// A worker tells its counters with the next tick that comes a tenth of a second after it last did.
const TOLD_WITHIN: Duration = Duration::from_millis(1300);

impl Metrics {
    /// The whole page.
    pub fn page(&self) -> &str {
        &self.0
    }

    /// A metric's value, summed over every series that has these labels among its own; 0 while there is none, as Envoy
    /// shows no counter before its first use.
    ///
    /// # Errors
    /// When a value isn't a whole number.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let series = self.series(name)?.into_iter();
        let fits = |its: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| its.get(*label).is_some_and(|its| its == value))
        };
        Ok(series.filter(|(its, _)| fits(its)).map(|(_, value)| value).sum())
    }

    /// Every series of a metric: its labels, and its value. No label's value may hold a comma.
    ///
    /// # Errors
    /// When a value isn't a whole number.
    pub fn series(&self, name: &str) -> Result<Vec<(BTreeMap<String, String>, u64)>> {
        let mut found = Vec::new();
        for line in self.0.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (its_name, labels) = series.split_once('{').unwrap_or((series, "}"));
            if its_name != name {
                continue;
            }
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned())).collect();
            found.push((labels, value.parse::<u64>().with_context(|| format!("no whole number: {line}"))?));
        }
        Ok(found)
    }
}

impl Stack {
    /// Reads Envoy's metrics, authgate's among them, once every worker has told its counters.
    ///
    /// # Errors
    /// When Envoy doesn't answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        tokio::time::sleep(TOLD_WITHIN).await;
        self.metrics_now().await
    }

    /// Reads Envoy's metrics. Counters of the last second may be missing.
    ///
    /// # Errors
    /// When Envoy doesn't answer.
    async fn metrics_now(&self) -> Result<Metrics> {
        Ok(Metrics(self.admin("/stats/prometheus").await?.text()))
    }

    /// Reads one metric, as [`Metrics::value`] says. A counter of authgate's is read once every worker has told it.
    ///
    /// # Errors
    /// When Envoy doesn't answer, or a value isn't a whole number.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let is_counter = name.starts_with("auth_") && (name.ends_with("_total") || COUNTERS.contains(&name));
        if is_counter { self.metrics().await? } else { self.metrics_now().await? }.value(name, labels)
    }

    /// The resident memory of Envoy's process, in bytes.
    ///
    /// # Errors
    /// When Envoy has ended, or the system isn't Linux.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.envoy_id()))?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kilobytes.context("the process has no memory")?.parse::<u64>()? * 1024)
    }

    /// Whether Envoy considers a cluster's host healthy: by health checks and by how requests to it end.
    ///
    /// # Errors
    /// When Envoy doesn't answer, or has no such host.
    pub async fn is_healthy(&self, cluster: &str, host: SocketAddr) -> Result<bool> {
        let clusters = self.admin("/clusters?format=json").await?.json()?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let cluster = list(&clusters["cluster_statuses"]).into_iter().find(|one| one["name"] == cluster);
        let hosts = list(&cluster.context("no such cluster")?["host_statuses"]);
        let port = |one: &Value| one.pointer("/address/socket_address/port_value").and_then(Value::as_u64);
        let host = hosts.iter().find(|one| port(one) == Some(host.port().into())).context("no such host")?;
        let failed = |check: &str| host["health_status"][check] == true;
        ensure!(host["health_status"]["eds_health_status"].is_string(), "no health in {host}");
        Ok(!["failed_active_health_check", "failed_outlier_check"].into_iter().any(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# TYPE requests counter
requests{outcome=\"allow\",source=\"jwt\"} 3
requests{outcome=\"deny\",source=\"jwt\"} 4
requests_more{outcome=\"allow\"} 100
age_bucket{le=\"0.5\"} 1
state{} 2
bare 7
half 0.5
";

    #[test]
    fn a_metric_is_summed_over_the_series_that_have_its_labels() -> Result<()> {
        let metrics = Metrics(PAGE.to_owned());
        for (name, labels, sum) in [
            ("requests", &[][..], 7),
            ("requests", &[("outcome", "allow")], 3),
            ("requests", &[("source", "jwt")], 7),
            ("requests", &[("source", "jwt"), ("outcome", "deny")], 4),
            ("requests", &[("outcome", "den")], 0),
            ("requests", &[("come", "deny")], 0),
            ("state", &[], 2),
            ("bare", &[], 7),
            ("nowhere", &[], 0),
        ] {
            assert_eq!(metrics.value(name, labels)?, sum, "{name} {labels:?}");
        }
        assert!(metrics.value("half", &[]).is_err());
        Ok(())
    }
}
