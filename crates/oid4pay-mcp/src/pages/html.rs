//! The page's HTML: no scripts, no inline styles, everything from outside escaped and cut to a length.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jose::UnixSeconds;
use spend_guard::State;

/// Text from merchants, servers and the agent, made fit to stand in a page as content or as a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().min(2 * LONGEST));
    for (at, character) in text.chars().enumerate() {
        if at == LONGEST {
            escaped.push('…');
            break;
        }
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

/// A sentence that begins with a capital letter.
pub(super) fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A time as people write it, in UTC: `20 Nov 2026, 17:05:51 UTC`.
pub(super) fn moment(seconds: UnixSeconds) -> String {
    let Ok(at) = jiff::Timestamp::from_second(seconds) else { return "at no time".to_owned() };
    format!("<time datetime=\"{at}\">{}</time>", at.strftime("%-d %b %Y, %H:%M:%S UTC"))
}

/// A state in a word or two.
pub(super) fn badge(state: State) -> String {
    let (class, words) = match state {
        State::Created => ("", "Begun"),
        State::AwaitingApproval => ("warn", "Waits for you"),
        State::Approved => ("good", "Approved"),
        State::Rejected => ("", "Rejected"),
        State::Authorized => ("", "Authorized"),
        State::Charging => ("warn", "Charging"),
        State::Settled => ("good", "Paid"),
        State::Failed => ("bad", "Failed"),
        State::Unknown => ("warn", "Outcome unknown"),
        State::Unresolved => ("warn", "May have been paid"),
        State::Expired => ("", "Expired"),
        State::Canceled => ("", "Canceled"),
        other => ("", other.as_str()),
    };
    format!("<span class=\"badge {class}\">{words}</span>")
}

/// The start of a form that changes something: where it goes, and the token that proves that this page sent it.
pub(super) fn form(csrf: &str, action: &str) -> String {
    format!("<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">")
}

/// Where the human types the passphrase. `id` is the field's own on the page.
pub(super) fn passphrase_field(id: &str) -> String {
    format!(
        "<p class=\"field\"><label for=\"{id}\">Your passphrase</label><input type=\"password\" id=\"{id}\" name=\"passphrase\" \
         autocomplete=\"current-password\" required maxlength=\"1000\"></p>"
    )
}

/// How a page is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// With the menu, `here` being the path of the page in it.
    Menu { here: &'static str },
    /// About one thing alone.
    Single,
}

/// A page. `title` is escaped or of our own words, `body` is HTML.
pub(super) fn page(status: StatusCode, layout: Layout, title: &str, body: &str) -> Response {
    let (kind, here) = match layout {
        Layout::Menu { here } => ("", here),
        Layout::Single => (" class=\"single\"", ""),
    };
    let link = |(path, name): &(&str, &str)| {
        let current = if *path == here { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{path}\"{current}>{name}</a></li>")
    };
    let links: String = PAGES.iter().map(link).collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} · Agent spending</title>\
         <link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\"><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body{kind}><a class=\"skip\" href=\"#main\">Skip to content</a>\
         <header class=\"top\"><div class=\"inner\"><a class=\"brand\" href=\"/\">{MARK}<span>Agent spending</span></a>\
         <nav aria-label=\"Dashboard\"><ul>{links}</ul></nav></div></header><main id=\"main\"><h1>{title}</h1>{body}</main>\
         <footer><p>Served by oid4pay-mcp on this machine, for this browser alone. The limit that holds everywhere is the one \
         you approve in your wallet.</p></footer></body></html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a page is not shown, or something not done. All three are of our own words.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    title: &'static str,
    text: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Nothing is here", "There is no such page or payment.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = format!(
            "<div class=\"card notice\"><p>{}</p></div><p><a href=\"/\">Back to the overview</a></p>",
            escape(&self.text)
        );
        page(self.status, Layout::Single, self.title, &body)
    }
}

const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><rect x=\"1\" y=\"4\" width=\"22\" \
                    height=\"16\" rx=\"4\"/><path d=\"M15 12.2l1.7 1.7 3-3.2\"/></svg>";
const PAGES: [(&str, &str); 2] = [("/", "Overview"), ("/history", "History")];
/// `same-origin`, and not `no-referrer`: with the latter a browser sends the forms of our own pages with `Origin: null`
/// (Fetch, "append a request Origin header").
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];
/// The longest text of a stranger's that is shown.
pub(super) const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_neither_markup_nor_a_trick_on_the_eye_nor_endless() {
        assert_eq!(escape("<b onx='1'>\"&"), "&lt;b onx=&#39;1&#39;&gt;&quot;&amp;");
        for trick in ['\u{202e}', '\u{0}', '\u{200d}', '\u{61c}', '\u{3164}', '\u{e0041}', '\u{2028}', '\u{1b}'] {
            assert_eq!(escape(&format!("a{trick}b")), "a\u{fffd}b", "{trick:?}");
        }
        assert_eq!(escape(&"ż".repeat(100_000)).chars().count(), LONGEST + 1);
    }
}
