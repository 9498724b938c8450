//! All bytes can be read as a form. A field that comes once has its value, and one that comes twice is empty.
#![no_main]

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use futures_util::FutureExt;
use latchkey::gate::form::{Fields, Form};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let request = Request::builder().header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body(Body::from(bytes.to_vec())).expect("a request");
    let decoded = Form::<Fields>::from_request(request, &()).now_or_never().expect("the body is there");
    let Ok(Form(fields)) = decoded else { panic!("refused") };
    let pairs: Vec<_> = form_urlencoded::parse(bytes).collect();
    for (name, text) in &pairs {
        let once = pairs.iter().filter(|(other, _)| other == name).count() == 1;
        assert_eq!(fields.once(name), once.then_some(text.as_ref()));
        assert_eq!(fields.text(name), if once { text } else { "" });
    }
});
