//! Spending guard: policy, budgets and the ledger of intents
