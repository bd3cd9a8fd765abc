//! The portal's pages as text: no scripts, no inline styles, everything from outside escaped.

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use iso_currency::Currency;

use super::Visitor;
use crate::error::{NO_STORE, Refusal};

/// What text from outside becomes before it stands in a page, as content or as a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What turns the reading direction round or cannot be seen could make one name look like another.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                escaped.push('\u{fffd}');
            }
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// An amount in the currency's major unit, `12.99 EUR`; in minor units where the currency's exponent is unknown.
pub(super) fn money(amount_minor: u64, currency: &str) -> String {
    let exponent = Currency::from_code(currency).and_then(Currency::exponent).map(u32::from);
    match exponent.and_then(|exponent| Some((exponent, 10_u64.checked_pow(exponent)?))) {
        Some((0, _)) => format!("{amount_minor} {}", escape(currency)),
        Some((exponent, unit)) => {
            let (major, minor) = (amount_minor / unit, amount_minor % unit);
            format!("{major}.{minor:0width$} {}", escape(currency), width = exponent as usize)
        }
        None => format!("{amount_minor} minor units of {}", escape(currency)),
    }
}

/// A page for a visitor. `title` is this crate's own; `body` is HTML in which everything from outside is escaped.
pub(super) fn page(status: StatusCode, visitor: Option<&Visitor>, here: &str, title: &str, body: &str) -> Response {
    let menu = visitor.filter(|visitor| visitor.principal.is_some()).map(|visitor| menu(visitor, here));
    let menu = menu.unwrap_or_default();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title} · Sandbox wallet</title>\
         <link rel=\"stylesheet\" href=\"/portal/style.css\"></head><body>\
         <a class=\"skip\" href=\"#main\">Skip to content</a>\
         <header><span class=\"brand\">Sandbox wallet</span>{menu}</header>\
         <main id=\"main\"><h1>{title}</h1>{body}</main>\
         <footer><p>A sandbox on this machine: no account here is anybody's, and no money is real.</p></footer>\
         </body></html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(cookie) = visitor.and_then(|visitor| visitor.set_cookie.as_ref()) {
        headers.insert(http::header::SET_COOKIE, cookie.clone());
    }
    response
}

/// What a refused request shows a person. Code and description are this crate's own words; nothing that was sent is echoed.
pub(in super::super) fn refusal_page(refusal: &Refusal) -> Response {
    let (why, code) = (escape(refusal.description()), refusal.error());
    let body = format!("<div class=\"card\"><p>{why}.</p><p class=\"soft\"><code>{code}</code></p></div>");
    page(refusal.status(), None, "", "This request was refused", &body)
}

/// The start of a form that changes something: where it goes, and the token that proves that this page sent it.
pub(super) fn form(visitor: &Visitor, action: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">",
        visitor.csrf
    )
}

/// A table under a caption, in a box of its own that scrolls where the screen is narrow.
pub(super) fn table(caption: &str, columns: &[&str], rows: &str) -> String {
    let head: String = columns.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    format!(
        "<div class=\"card scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption>\
         <thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn menu(visitor: &Visitor, here: &str) -> String {
    let link = |(path, name): &(&str, &str)| {
        let current = if *path == here { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{path}\"{current}>{name}</a></li>")
    };
    let links: String = PAGES.iter().map(link).collect();
    let name = visitor.principal.as_ref().map(|principal| principal.name).unwrap_or_default();
    format!(
        "<nav aria-label=\"Wallet\"><ul>{links}</ul></nav>{}<span class=\"soft\">{name}</span> \
         <button class=\"plain\">Sign out</button></form>",
        form(visitor, "/portal/sign-out")
    )
}

const PAGES: [(&str, &str); 4] = [
    ("/portal", "Agents"),
    ("/portal/payments", "Payments"),
    ("/portal/audit", "Audit"),
    ("/portal/connect", "Connect"),
];
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_neither_markup_nor_a_trick_on_the_eye() {
        assert_eq!(escape("<b onx='1'>\"&"), "&lt;b onx=&#39;1&#39;&gt;&quot;&amp;");
        assert_eq!(escape("a\u{202e}b\u{0}"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn money_has_the_places_of_its_currency() {
        let cases = [((1299, "EUR"), "12.99 EUR"), ((5, "EUR"), "0.05 EUR"), ((1200, "JPY"), "1200 JPY")];
        for ((amount, currency), shown) in cases {
            assert_eq!(money(amount, currency), shown);
        }
        assert_eq!(money(1234, "KWD"), "1.234 KWD");
    }
}
