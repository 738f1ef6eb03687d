//! The UI: pages rendered here, without JavaScript. (Being built.)

pub mod assets {
    pub async fn show() -> crate::http::problem::Problem {
        crate::http::problem::Problem::not_found("none")
    }
}
pub mod list {
    pub async fn home() -> axum::response::Redirect {
        axum::response::Redirect::to("/incidents")
    }
    pub async fn page() -> &'static str {
        ""
    }
}
pub mod incident {
    pub async fn page() -> &'static str {
        ""
    }
}
pub mod oncall {
    pub async fn page() -> &'static str {
        ""
    }
}
pub mod forms {
    pub async fn act() -> &'static str {
        ""
    }
}
pub mod problem {
    use axum::response::Response;
    pub fn page(
        _: &crate::http::State,
        _: &crate::http::problem::Problem,
        response: Response,
    ) -> Response {
        response
    }
}
pub struct Pages;
impl Pages {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self)
    }
}
