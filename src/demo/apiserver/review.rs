//! Access reviews: what the denials of [`Cluster::deny`](super::Cluster::deny) mean for a question.

use axum::{Json, http::StatusCode, response::IntoResponse as _};
use serde_json::{Value, json};

use super::{
    state::Cluster,
    status::{Failure, Outcome},
};

/// Answers a review; every other POST is a write, which this server does not take.
pub(super) fn answer(cluster: &Cluster, path: &str, body: &[u8]) -> Outcome {
    let kind = path.rsplit('/').next().unwrap_or_default();
    let reviews = ["selfsubjectaccessreviews", "localsubjectaccessreviews"];
    if !path.starts_with("/apis/authorization.k8s.io/v1/") || !reviews.contains(&kind) {
        return Err(Failure::unexpected(405, "MethodNotAllowed", "this server is read-only"));
    }
    if cluster.denies("create", kind) {
        let message = format!(
            "{kind}.authorization.k8s.io is forbidden: User \"system:serviceaccount:paramedic:paramedic\" cannot create \
             resource \"{kind}\" in API group \"authorization.k8s.io\""
        );
        return Err(Failure::new(403, "Forbidden", message));
    }
    let bad = || Failure::unexpected(400, "BadRequest", "the review cannot be read");
    let mut review: Value = serde_json::from_slice(body).map_err(|_| bad())?;
    let asked = review.pointer("/spec/resourceAttributes").ok_or_else(bad)?;
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        sub => format!("{}/{sub}", text("resource")),
    };
    let allowed = !cluster.denies(text("verb"), &resource);
    review["status"] = json!({ "allowed": allowed });
    Ok((StatusCode::CREATED, Json(review)).into_response())
}
