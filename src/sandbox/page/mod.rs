//! The inbox page: a few files, no framework, nothing from elsewhere.

use actix_web::{HttpResponse, web};

/// Only our own files, no inline script or style, no framing.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

fn asset(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("cache-control", "no-cache"))
        .body(text)
}

async fn inbox() -> HttpResponse {
    asset("text/html; charset=utf-8", include_str!("inbox.html"))
}

async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", include_str!("inbox.css"))
}

async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("inbox.js"))
}

async fn icon() -> HttpResponse {
    asset("image/svg+xml", include_str!("icon.svg"))
}

/// Mounts the page.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(inbox))
        .route("/icon.svg", web::get().to(icon))
        .route("/inbox.css", web::get().to(style))
        .route("/inbox.js", web::get().to(script));
}
