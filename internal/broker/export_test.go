package broker

// What tests in package broker_test need of the inside.
var (
	ReadToken     = readToken
	ParseKeyTable = parseKeyTable
)

// UsedOn asks whether a node wants changes of an account's association.
func UsedOn(b *Broker, node, namespace, account string) func() bool {
	wanted := b.usedOn(node)
	return func() bool { return wanted(change{namespace: namespace, account: account}) }
}
