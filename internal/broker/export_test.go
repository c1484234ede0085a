package broker

// What tests in package broker_test need of the inside.
var (
	ReadToken = readToken
)

// UsedOn asks whether a node wants changes of an account's association.
func UsedOn(b *Broker, node, namespace, account string) func() bool {
	wanted := b.usedOn(node)
	return func() bool { return wanted(change{namespace: namespace, account: account}) }
}

// Left is how many sessions wait for their agents' next try.
func (b *Broker) Left() int {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	return len(b.left.kept)
}

// Flying is how many sessions are being taken.
func (b *Broker) Flying() int { return len(b.flying) }

// FillFlights takes all places but those, until what it returns is called.
func (b *Broker) FillFlights(free int) (leave func()) {
	for range cap(b.flying) - free {
		b.flying.Take()
	}
	return func() {
		for range cap(b.flying) - free {
			b.flying.Free()
		}
	}
}
