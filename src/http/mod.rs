//! HTTP delivery: the hub protocol, REST v1 and the pages. Thin: extract, authorize, one domain call in one
//! transaction, enqueue, respond.

pub mod api;
pub mod blob;
pub mod error;
pub mod extract;
pub mod health;
pub mod hub;
pub(crate) mod kit;
pub(crate) mod limits;
pub mod middleware;
pub mod origin;
pub mod routes;
pub mod ui;

use std::net::TcpListener;

use actix_web::{
    App as Actix, HttpServer,
    dev::Server,
    middleware::{Compress, from_fn},
    web::{self, Data},
};

use crate::app::App;
use error::ApiError;
pub(crate) use limits::MAX_FINGERPRINT;
use limits::MAX_JSON;

/// Builds the server on a bound socket; it runs when awaited and drains requests when stopped.
pub fn server(app: App, listener: TcpListener) -> std::io::Result<Server> {
    let workers = app.options.http_workers.max(1);
    let server = HttpServer::new(move || {
        let bad = |message: String| actix_web::Error::from(ApiError::bad_request(message));
        Actix::new()
            .app_data(Data::new(app.clone()))
            .app_data(
                web::JsonConfig::default()
                    .limit(MAX_JSON)
                    .content_type_required(false)
                    .error_handler(move |error, _| bad(format!("the body is not the JSON that was expected: {error}"))),
            )
            .app_data(web::PayloadConfig::new(MAX_FINGERPRINT))
            .app_data(web::QueryConfig::default().error_handler(move |error, _| bad(error.to_string())))
            .app_data(web::FormConfig::default().error_handler(move |error, _| bad(error.to_string())))
            .app_data(web::PathConfig::default().error_handler(move |error, _| bad(error.to_string())))
            .wrap(Compress::default())
            .wrap(from_fn(middleware::refuse_packed))
            .wrap(from_fn(middleware::observe))
            .configure(routes::configure)
    });
    // The end of an answer would wait for the client's delayed acknowledgement of its beginning: 40 ms.
    let server = server.workers(workers).tcp_nodelay(true);
    let server = server.shutdown_timeout(20).disable_signals().listen(listener)?;
    Ok(server.run())
}
