//! The ways to a Spark UI, one by one.

use std::{net::IpAddr, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    Application, Client, Way,
    record::{self, Runner},
};
use crate::{
    clients::{
        Error, Kind, Result,
        http::{Request, Trust, Url},
        kube,
    },
    domain::target::SparkApp,
};

/// Deadline of one direct request. A driver's first answer takes up to 3 s (class loading).
const TIMEOUT: Duration = Duration::from_secs(4);
/// The same for the History Server, which reads an application's whole event log before its first answer.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(15);

/// A way that was found to work.
pub(super) enum Route {
    Direct { base: Url, trust: Trust },
    Proxy { kube: kube::Client, namespace: String, pod: String, port: u16 },
}

impl Client {
    /// The driver pod, if Kubernetes still has it.
    pub async fn driver(&self, app: &SparkApp) -> Result<kube::Pod> {
        let operation = "find the driver pod";
        let missing = |why: &str| Error::new(Kind::NotFound, operation, why);
        let Some(kube) = &self.kube else {
            return Err(missing("no Kubernetes access is configured for this cluster"));
        };
        if !app.driver_pod.is_empty() {
            return kube.pod(&app.namespace, &app.driver_pod).await.map_err(|error| {
                match error.kind {
                    Kind::NotFound => missing("the driver pod is gone"),
                    _ => error,
                }
            });
        }
        check_id(&app.app_id)?;
        let labels = format!("spark-app-selector={},spark-role=driver", app.app_id);
        let query = kube::PodQuery {
            namespace: app.namespace.clone(),
            labels,
            limit: 10,
            ..kube::PodQuery::default()
        };
        let pods = kube.pods(&query).await?.items;
        pods.into_iter()
            .max_by_key(|pod| pod.created)
            .ok_or_else(|| missing("no driver pod has this application's id"))
    }

    /// Tries one way: the route, and what the application that answers says of itself.
    pub(super) async fn try_way(
        &self,
        way: Way,
        app: &SparkApp,
        driver: &Result<kube::Pod>,
        operation: &str,
    ) -> Result<(Route, Application)> {
        let route = self.route(way, driver, operation).await?;
        let application = match way {
            Way::History => {
                if app.app_id.is_empty() {
                    let why = "the application's id is not known, and only its id finds it there";
                    return Err(Error::new(Kind::NotFound, operation, why));
                }
                self.fetch(&route, &base(&app.app_id, None)?, operation).await?
            }
            Way::PodIp | Way::UiService | Way::ApiProxy => {
                let all: Vec<Application> =
                    self.fetch(&route, "/api/v1/applications", operation).await?;
                let found = all.into_iter().find(|a| app.app_id.is_empty() || a.id == app.app_id);
                found.ok_or_else(|| {
                    Error::new(Kind::NotFound, operation, "another application answers there")
                })?
            }
        };
        Ok((route, application))
    }

    async fn route(&self, way: Way, driver: &Result<kube::Pod>, operation: &str) -> Result<Route> {
        let missing = |why: &str| Error::new(Kind::NotFound, operation, why);
        match way {
            Way::PodIp => {
                let (_, driver) = self.alive(driver, operation)?;
                match driver.ip.parse() {
                    Ok(IpAddr::V4(ip)) => untrusted(&ip.to_string(), driver.ui_port, operation),
                    Ok(IpAddr::V6(ip)) => untrusted(&format!("[{ip}]"), driver.ui_port, operation),
                    Err(_) => Err(missing("the driver pod has no IP yet")),
                }
            }
            Way::UiService => {
                let (kube, driver) = self.alive(driver, operation)?;
                let runner =
                    Runner::of(&driver.labels).filter(|(runner, _)| *runner != Runner::Submit);
                let (runner, name) = runner
                    .ok_or_else(|| missing("there is none: no operator started this driver"))?;
                let found = record::of_runner(kube, runner, &driver.namespace, &name).await?;
                if found.ui_service.is_empty() {
                    return Err(missing("the operator made none"));
                }
                let port = if found.ui_port == 0 { 4040 } else { found.ui_port };
                let host = format!("{}.{}.svc", found.ui_service, driver.namespace);
                untrusted(&host, port, operation)
            }
            Way::ApiProxy => {
                let (kube, driver) = self.alive(driver, operation)?;
                Ok(Route::Proxy {
                    kube: kube.clone(),
                    namespace: driver.namespace.clone(),
                    pod: driver.name.clone(),
                    port: driver.ui_port,
                })
            }
            Way::History => {
                let base = self.history.clone();
                let base =
                    base.ok_or_else(|| missing("none is configured (`history` of the cluster)"))?;
                Ok(Route::Direct { base, trust: Trust::Configured })
            }
        }
    }

    /// The driver pod, when its UI can be up.
    fn alive<'a>(
        &'a self,
        driver: &'a Result<kube::Pod>,
        operation: &str,
    ) -> Result<(&'a kube::Client, &'a kube::Pod)> {
        let missing = |why: String| Error::new(Kind::NotFound, operation, why);
        let driver = driver.as_ref().map_err(Clone::clone)?;
        let kube = self.kube.as_ref().ok_or_else(|| missing("no Kubernetes access".to_owned()))?;
        if driver.phase != "Running" {
            let (name, phase) = (&driver.name, &driver.phase);
            return Err(missing(format!("driver pod {name} is {phase}, its UI is off")));
        }
        Ok((kube, driver))
    }

    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        route: &Route,
        path: &str,
        operation: &str,
    ) -> Result<T> {
        let answer = match route {
            Route::Direct { base, trust } => {
                let mut url = base.clone();
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
                url.set_query((!query.is_empty()).then_some(query));
                let timeout = match trust {
                    Trust::Configured => HISTORY_TIMEOUT,
                    Trust::Untrusted => TIMEOUT,
                };
                let request = Request::get(url, operation).timeout(timeout).trust(*trust);
                self.http.send(request).await?
            }
            Route::Proxy { kube, namespace, pod, port } => {
                kube.proxy_pod(namespace, pod, *port, path, operation).await?
            }
        };
        answer.error_for_status(operation)?.json(operation)
    }
}

fn untrusted(host: &str, port: u16, operation: &str) -> Result<Route> {
    let base = format!("http://{host}:{port}/").parse();
    let base = base
        .map_err(|_| Error::new(Kind::Malformed, operation, format!("`{host}` is no host name")))?;
    Ok(Route::Direct { base, trust: Trust::Untrusted })
}

/// `/api/v1/applications/<id>[/<attempt>]`.
pub(super) fn base(app_id: &str, attempt: Option<&str>) -> Result<String> {
    check_id(app_id)?;
    match attempt {
        None => Ok(format!("/api/v1/applications/{app_id}")),
        Some(attempt) => {
            check_id(attempt)?;
            Ok(format!("/api/v1/applications/{app_id}/{attempt}"))
        }
    }
}

/// An id becomes part of paths and label selectors, so it holds nothing that means something there.
pub(super) fn check_id(id: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !id.is_empty() && id.len() <= 128 && id.bytes().all(fine) && !id.bytes().all(|b| b == b'.') {
        return Ok(());
    }
    let shown: String = id.chars().take(40).collect();
    let reason = format!("`{}` is not the id of a Spark application", shown.escape_debug());
    Err(Error::new(Kind::Refused, "ask Spark", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_change_the_path_it_stands_in() {
        assert_eq!(base("spark-1a", Some("1")).unwrap(), "/api/v1/applications/spark-1a/1");
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a b", "a\0", "a,b=c", &"a".repeat(129)] {
            assert!(base(bad, None).is_err(), "{bad:?}");
            assert!(base("ok", Some(bad)).is_err(), "{bad:?}");
        }
    }
}
