package agent

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// The protocol's own addresses.
var (
	AddressIPv4 = netip.MustParseAddr("169.254.170.23")
	AddressIPv6 = netip.MustParseAddr("fd00:ec2::23")
)

// hosts are the addresses that clients may name. Everything else is refused
// before anything is read, which stops DNS rebinding and requests that a
// service is tricked into by name.
type hosts struct {
	allowed map[netip.Addr]bool
	// shown is what the refusal says.
	shown string
}

func newHosts(more []netip.Addr) hosts {
	h := hosts{allowed: map[netip.Addr]bool{}}
	var texts []string
	for _, address := range append([]netip.Addr{AddressIPv4, AddressIPv6}, more...) {
		if !h.allowed[address] {
			h.allowed[address] = true
			texts = append(texts, address.String())
		}
	}
	h.shown = fmt.Sprint(texts)
	return h
}

// accept compares addresses, not texts.
func (h hosts) accept(host string) bool {
	address, err := ParseHost(host)
	return err == nil && h.allowed[address]
}

// ParseHost reads a Host header or a bind host: an IP address, with or without
// a port and brackets. Names and zones are errors.
func ParseHost(host string) (netip.Addr, error) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return netip.Addr{}, fmt.Errorf("%q: the port is not a number", cut(host, 100))
		}
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return netip.Addr{}, fmt.Errorf("%q: a bracket is missing", cut("["+inner, 100))
		}
	}
	address, err := netip.ParseAddr(host)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address without a zone", cut(host, 100))
	}
	return address, nil
}
