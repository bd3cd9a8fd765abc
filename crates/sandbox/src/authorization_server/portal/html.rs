//! The portal's pages as text: no scripts, no inline styles, everything from outside escaped.

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use qrcode::{Color, QrCode};

use super::session::Visitor;
use crate::authorization_server::endpoints::PORTAL_PATH;
use crate::error::{NO_STORE, Refusal};

/// Escapes text from outside for use in a page, as content or as a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if tricks_the_eye(character) => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// What turns the reading direction round or cannot be seen: it could make one name look like another.
fn tricks_the_eye(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A page for a visitor. `here` is its path where it stands in the menu; without one it is about one thing alone, and has
/// no menu. `title` is this crate's own; `body` is HTML in which everything from outside is escaped.
pub(super) fn page(status: StatusCode, visitor: Option<&Visitor>, here: &str, title: &str, body: &str) -> Response {
    let signed_in = visitor.filter(|visitor| visitor.principal.is_some());
    let (menu, account) = match signed_in {
        Some(visitor) => (if here.is_empty() { String::new() } else { menu(here) }, account(visitor)),
        None => Default::default(),
    };
    let kind = if here.is_empty() { " class=\"single\"" } else { "" };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} · Sandbox wallet</title>\
         <link rel=\"icon\" href=\"/portal/icon.svg\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/portal/style.css\"></head><body{kind}>\
         <a class=\"skip\" href=\"#main\">Skip to content</a>\
         <header class=\"top\"><div class=\"inner\"><a class=\"brand\" href=\"{PORTAL_PATH}\">{MARK}<span>Sandbox wallet</span></a>\
         {menu}{account}</div></header>\
         <main id=\"main\"><h1>{title}</h1>{body}</main>\
         <footer><p>A sandbox on this machine: no account here is real, and no money is either.</p></footer>\
         </body></html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    if let Some(cookie) = visitor.and_then(|visitor| visitor.set_cookie.as_ref()) {
        headers.insert(http::header::SET_COOKIE, cookie.clone());
    }
    response
}

/// A page about one thing that is over: a sign, a sentence, and the way back.
pub(super) fn notice(visitor: &Visitor, tone: Tone, title: &str, body: &str) -> Response {
    page(StatusCode::OK, Some(visitor), "", title, &card(tone, body))
}

/// What a refused request shows a person. Code and description are this crate's own words; nothing that was sent is echoed.
pub(in super::super) fn refusal_page(refusal: &Refusal) -> Response {
    refused(None, refusal)
}

/// The same for a visitor who is known.
pub(super) fn refused(visitor: Option<&Visitor>, refusal: &Refusal) -> Response {
    let title = match refusal.status() {
        StatusCode::FORBIDDEN => "This is not yours to do",
        StatusCode::NOT_FOUND => "Nothing is here",
        StatusCode::CONFLICT => "That was done before",
        StatusCode::SERVICE_UNAVAILABLE => "Please try again later",
        _ => "This request was refused",
    };
    let body = format!(
        "<p>{}.</p><p class=\"soft\">Code: <code>{}</code></p>",
        capitalized(&escape(refusal.description())),
        refusal.error()
    );
    page(refusal.status(), visitor, "", title, &card(Tone::Bad, &body))
}

/// Whether what a page tells is good news.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Good,
    Bad,
    Neutral,
}

fn card(tone: Tone, body: &str) -> String {
    let (class, drawing) = match tone {
        Tone::Good => ("good", "<path d=\"M7 12.5l3.2 3.2L17 9\"/>"),
        Tone::Bad => ("bad", "<path d=\"M12 7v6M12 16.4v.2\"/>"),
        Tone::Neutral => ("neutral", "<path d=\"M8 8l8 8M16 8l-8 8\"/>"),
    };
    format!(
        "<div class=\"card notice\"><svg class=\"sign {class}\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">\
         <circle cx=\"12\" cy=\"12\" r=\"11\"/>{drawing}</svg>{body}</div>\
         <p><a href=\"{PORTAL_PATH}\">Open the wallet</a></p>"
    )
}

/// The start of a form that changes something: where it goes, and the token that proves that this page sent it.
pub(super) fn form(visitor: &Visitor, action: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">",
        visitor.csrf
    )
}

/// A QR code of `text`, dark on light whatever the colours of the page, because readers need that.
pub(super) fn qr_code(text: &str, label: &str) -> Option<String> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let dark = colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark);
    let path: String = dark.map(|(at, _)| format!("M{} {}h1v1h-1z", at % width, at / width)).collect();
    // Four modules of margin all around (ISO/IEC 18004).
    let side = width + 8;
    Some(format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"{label}\" viewBox=\"-4 -4 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect x=\"-4\" y=\"-4\" width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn menu(here: &str) -> String {
    let link = |(path, name): &(&str, &str)| {
        let current = if *path == here { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{path}\"{current}>{name}</a></li>")
    };
    let links: String = PAGES.iter().map(link).collect();
    format!("<nav aria-label=\"Wallet\"><ul>{links}</ul></nav>")
}

fn account(visitor: &Visitor) -> String {
    let name = visitor.principal.as_ref().map(|principal| principal.name).unwrap_or_default();
    let form = form(visitor, "/portal/sign-out");
    format!("<div class=\"account\"><span>{name}</span>{form}<button class=\"plain\">Sign out</button></form></div>")
}

/// The wallet's sign, in the text's own colour.
const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><rect x=\"1\" y=\"4\" width=\"22\" \
                    height=\"16\" rx=\"4\"/><path d=\"M15 12.2l1.7 1.7 3-3.2\"/></svg>";
const PAGES: [(&str, &str); 4] = [
    ("/portal", "Agents"),
    ("/portal/payments", "Payments"),
    ("/portal/audit", "Audit"),
    ("/portal/connect", "Connect"),
];
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_neither_markup_nor_a_trick_on_the_eye() {
        assert_eq!(escape("<b onx='1'>\"&"), "&lt;b onx=&#39;1&#39;&gt;&quot;&amp;");
        for trick in ['\u{202e}', '\u{0}', '\u{200d}', '\u{61c}', '\u{3164}', '\u{e0041}', '\u{2028}'] {
            assert_eq!(escape(&format!("a{trick}b")), "a\u{fffd}b", "{trick:?}");
        }
        assert_eq!(escape("Żółw, 東京 & שלום"), "Żółw, 東京 &amp; שלום");
    }

    #[test]
    fn a_qr_code_has_its_quiet_zone() {
        let svg = qr_code("setup_token", "a code").unwrap();
        assert!(svg.contains("viewBox=\"-4 -4 29 29\"") && svg.contains("M0 0h1v1h-1z"), "{svg}");
        assert_eq!(qr_code(&"x".repeat(3000), "too much for one"), None);
    }
}
