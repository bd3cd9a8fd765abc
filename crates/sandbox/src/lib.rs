//! An OID4AC authorization server, directory and merchants for one machine
