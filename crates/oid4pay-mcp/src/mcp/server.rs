//! The MCP server on standard input and output.

use oid4pay::person::{Ending, Waiting};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, ServiceExt as _};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::stdio_pipes;

use super::host::Host;
use super::instructions::instructions;
use super::name::{Name, Offered};
use super::person::McpPerson;
use super::transport::line_cap::LineCap;
use super::{contract, prompts, resources, tools};
use crate::config::Settings;
use crate::stop::{EndingInput, StopSignal};

/// Serves until standard input ends or the process is asked to end.
///
/// # Errors
///
/// When standard output cannot be written or the client speaks no MCP.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut stop = StopSignal::listen()?;
    let (input, output) = stdio_pipes();
    let ending = Ending::default();
    let input = LineCap::new(EndingInput::new(input, ending.clone()), MAX_LINE_OCTETS);
    let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(MAX_LINE_OCTETS);
    let service = tokio::select! {
        served = (Server { host: Host::new(settings), ending: ending.clone() }).serve(transport) => match served {
            Ok(service) => service,
            // A client that leaves before it has said anything is no error.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        },
        () = stop.received() => return Ok(()),
    };
    let end = service.cancellation_token();
    let mut service = std::pin::pin!(service.waiting());
    tokio::select! {
        ended = service.as_mut() => drop(ended?),
        () = stop.received() => {
            // The calls first: what they stop or finish is still answered.
            ending.begin();
            end.cancel();
            service.await?;
        }
    }
    // A payment that was sent is recorded before the process ends.
    ending.begin();
    ending.calls_ended().await;
    Ok(())
}

/// A result that nobody but this client may keep, said where the protocol has a way to say so.
macro_rules! private {
    ($result:expr, $context:expr) => {
        match $context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
            true => $result.with_ttl_ms(0).with_cache_scope(CacheScope::Private),
            false => $result,
        }
    };
}

pub(crate) struct Server {
    host: Host,
    ending: Ending,
}

impl Server {
    fn offered(&self) -> Offered {
        Offered::of(&self.host.settings)
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).with_title("OID4Pay");
        let capabilities = ServerCapabilities::builder().enable_prompts().enable_resources().enable_tools().build();
        ServerConfig::new(capabilities).with_server_info(name).with_instructions(instructions(self.offered()))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(private!(ListToolsResult::with_all_items(self.offered().list()), context))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.offered().definition(Name::find(name)?).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = Name::find(&request.name) else {
            return Err(ErrorData::invalid_params("no tool has this name", None));
        };
        if let Err(refusal) = self.offered().check(tool) {
            return Ok(contract::result(&refusal, tool).into());
        }
        let Settings { consent_wait, call_deadline, .. } = self.host.settings;
        let cancelled = context.ct.clone();
        let person = Box::new(McpPerson::new(context, request.request_state, request.input_responses));
        let waiting = Waiting::new(person, consent_wait, call_deadline, cancelled, self.ending.watch());
        tools::call(tool, &self.host, request.arguments, waiting).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(private!(ListPromptsResult::with_all_items(prompts::list()), context))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::fill(&request.name, request.arguments).map(GetPromptResponse::from)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(private!(ListResourcesResult::with_all_items(resources::list(&self.host.agent)?), context))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(private!(ListResourceTemplatesResult::with_all_items(resources::templates()), context))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = resources::read(&self.host.agent, &request.uri).await?;
        Ok(private!(ReadResourceResult::new(vec![contents]), context).into())
    }
}

/// One JSON-RPC message. The largest that a client has reason to send holds a presentation and a hundred line items.
const MAX_LINE_OCTETS: usize = 1 << 20;
