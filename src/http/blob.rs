//! Answers with a file's content: whole or a range, with the headers that clients check.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, ContentDisposition, DispositionParam, DispositionType},
    },
};

use super::{
    error::ApiError,
    extract::{Asked, range},
};
use crate::{app::App, catalog::File};

/// How a file is sent.
pub struct Headers<'a> {
    /// The revision's commit id.
    pub commit: &'a str,
    /// The validator, quoted.
    pub etag: String,
}

/// Returns the response with a file's content; for `HEAD`, only its headers.
pub async fn file_response(
    app: &App,
    request: &HttpRequest,
    file: &File,
    headers: Headers<'_>,
) -> Result<HttpResponse, ApiError> {
    let size = file.size.cast_unsigned();
    let asked = range(request, size);
    let status = match asked {
        Asked::All => StatusCode::OK,
        Asked::Part(_) => StatusCode::PARTIAL_CONTENT,
        Asked::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let is_unchanged = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.to_str().is_ok_and(|value| value.contains(&headers.etag)));
    let mut response = HttpResponse::build(if is_unchanged { StatusCode::NOT_MODIFIED } else { status });
    response
        .insert_header((header::ETAG, headers.etag))
        .insert_header(("X-Repo-Commit", headers.commit))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Whatever somebody uploaded never runs as a page of ours.
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(disposition(file))
        .insert_header((header::CONTENT_TYPE, content_type(file)));
    if is_unchanged {
        return Ok(response.finish());
    }
    let part = match asked {
        Asked::All => 0..size,
        Asked::Part(part) => part,
        Asked::Unsatisfiable => {
            return Ok(response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}"))).finish());
        }
    };
    let length = part.end - part.start;
    if status == StatusCode::PARTIAL_CONTENT {
        let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        response.insert_header((header::CONTENT_RANGE, content_range));
    }
    if request.method() == Method::HEAD {
        response.no_chunking(length);
        return Ok(
            response.body(actix_web::body::SizedStream::new(length, futures::stream::empty::<Result<_, ApiError>>()))
        );
    }
    let stream = app.store.read_range(&file.digest, part).await?;
    let stream = futures::StreamExt::map(stream, |piece| piece.map_err(ApiError::from));
    Ok(response.body(actix_web::body::SizedStream::new(length, stream)))
}

fn disposition(file: &File) -> ContentDisposition {
    let name = DispositionParam::Filename(file.path.file_name().to_owned());
    ContentDisposition { disposition: DispositionType::Inline, parameters: vec![name] }
}

fn content_type(file: &File) -> String {
    let guessed = mime_guess::from_path(file.path.file_name()).first_or_octet_stream();
    match guessed.essence_str() {
        "text/html" | "application/xhtml+xml" | "image/svg+xml" | "text/markdown" => {
            "text/plain; charset=utf-8".to_owned()
        }
        "text/plain" => "text/plain; charset=utf-8".to_owned(),
        other => other.to_owned(),
    }
}
