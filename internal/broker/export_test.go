package broker

// What tests in package broker_test need of the inside.
var (
	ReadToken     = readToken
	ParseKeyTable = parseKeyTable
)
