//! OID4AC client: registration, mandates and payments for agents
