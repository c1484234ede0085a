package nodenet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolecall/rolecall/internal/glob"
)

// linksKept is how long it is believed what a link is: links of a network change
// seldom, and with them who is behind one.
const linksKept = 10 * time.Second

// links knows by which link the answers to a client leave, and what that link is. It
// asks for the way back, not for the way the packets came: nobody can complete a
// connection without receiving our answers, while the other way can be forged.
type links struct {
	handle  *netlink.Handle
	allowed []string
	now     func() time.Time

	mu    sync.Mutex
	known map[int]judged
}

type judged struct {
	name, why string
	until     time.Time
}

// newLinks looks at the network namespace of the calling thread.
func newLinks(allowed []string, now func() time.Time) (*links, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("ask the kernel for routes", err)
	}
	return &links{handle: handle, allowed: allowed, now: now, known: map[int]judged{}}, nil
}

// foreign says by which link a client is reached that is neither this node nor a
// pod of it, and why it is not; why is empty if it is one. What cannot be found out is
// foreign.
func (l *links) foreign(client, local netip.Addr) (link, why string) {
	found, err := l.handle.RouteGetWithOptions(client.AsSlice(), &netlink.RouteGetOptions{SrcAddr: local.AsSlice()})
	switch {
	case err != nil:
		return "", fmt.Sprintf("no way back to it: %v", err)
	case len(found) == 0:
		return "", "no way back to it"
	case found[0].Type == unix.RTN_LOCAL:
		return "", "" // this node itself: pods on its network, kubelet, our probes
	}
	return l.judge(found[0].LinkIndex, l.now())
}

func (l *links) judge(index int, now time.Time) (link, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, found := l.known[index]; found && now.Before(one.until) {
		return one.name, one.why
	}
	if len(l.known) > 4096 { // pods come and go, and their links with them
		clear(l.known)
	}
	name, why := l.look(index)
	l.known[index] = judged{name, why, now.Add(linksKept)}
	return name, why
}

func (l *links) look(index int) (name, why string) {
	link, err := l.handle.LinkByIndex(index)
	if err != nil {
		return "", fmt.Sprintf("the link back to it is gone: %v", err)
	}
	name = link.Attrs().Name
	if len(l.allowed) > 0 {
		if slices.ContainsFunc(l.allowed, func(pattern string) bool { return glob.Match(pattern, name) }) {
			return name, ""
		}
		return name, "not one of the links that pods' requests are taken from"
	}
	if why, err = l.outside(link); err != nil {
		return name, fmt.Sprintf("cannot tell what the link is: %v", err)
	}
	return name, why
}

// pair are the types of links that end in one other network namespace, or in a program.
var pair = []string{"veth", "netkit", tunnel}

// tunnel ends in a program: one that runs a pod, or one that carries packets elsewhere.
const tunnel = "tuntap"

// outside says why a link leads out of the node; empty if pods are behind it. Pods
// are behind one end of a pair, which has no network of several machines on it; behind
// a bridge that joins such pairs only; or behind a port of Open vSwitch. What leads
// to everywhere else, or is, or joins, a network card, tunnel or the like, leads out.
func (l *links) outside(link netlink.Link) (string, error) {
	index := link.Attrs().Index
	byDefault, err := l.leadsEverywhere(index)
	if err != nil {
		return "", err
	}
	switch kind := link.Type(); {
	case byDefault:
		return "the default route leads there", nil
	case slices.Contains(pair, kind):
		if why, err := l.network(link); why != "" || err != nil || kind != tunnel {
			return why, err
		}
		return l.leadsTo(index)
	case kind == "bridge":
		return l.joins(index)
	case kind == "openvswitch":
		return "", nil
	case kind == "device":
		return "it is a network card", nil
	default:
		return "it is of type " + kind, nil
	}
}

// leadsEverywhere reports whether a default route of the main table leads through a
// link. Other tables have ones for single pods.
func (l *links) leadsEverywhere(index int) (bool, error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := l.handle.RouteListFiltered(
			family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE,
		)
		if err != nil {
			return false, err
		}
		for _, route := range routes {
			if !everywhere(route.Dst) {
				continue
			}
			if route.LinkIndex == index || slices.ContainsFunc(
				route.MultiPath, func(hop *netlink.NexthopInfo) bool { return hop.LinkIndex == index },
			) {
				return true, nil
			}
		}
	}
	return false, nil
}

func everywhere(to *net.IPNet) bool {
	if to == nil {
		return true
	}
	ones, _ := to.Mask.Size()
	return ones == 0
}

// network says which network of several machines is on a link. The node's end of a
// pod's pair has no address, or one for both ends alone.
func (l *links) network(link netlink.Link) (string, error) {
	addresses, err := l.handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return "", err
	}
	for _, one := range addresses {
		ones, bits := one.Mask.Size()
		if bits-ones > 1 && !one.IP.IsLinkLocalUnicast() {
			return fmt.Sprintf("the network %s is on it", &net.IPNet{IP: one.IP.Mask(one.Mask), Mask: one.Mask}), nil
		}
	}
	return "", nil
}

// leadsTo says which network of several machines is reached by a link, though the link has
// no address of it: what is behind a point-to-point tunnel.
func (l *links) leadsTo(index int) (string, error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := l.handle.RouteListFiltered(family, &netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF)
		if err != nil {
			return "", err
		}
		for _, route := range routes {
			if route.Dst == nil || route.Dst.IP.IsLinkLocalUnicast() || route.Dst.IP.IsMulticast() {
				continue
			}
			if ones, bits := route.Dst.Mask.Size(); bits-ones > 1 {
				return fmt.Sprintf("the network %s is behind it", route.Dst), nil
			}
		}
	}
	return "", nil
}

// joins names a port of a bridge behind which no pod is.
func (l *links) joins(bridge int) (string, error) {
	all, err := l.handle.LinkList()
	if err != nil {
		return "", err
	}
	for _, port := range all {
		if port.Attrs().MasterIndex == bridge && !slices.Contains(pair, port.Type()) {
			return fmt.Sprintf("the bridge joins %s, which is of type %s", port.Attrs().Name, port.Type()), nil
		}
	}
	return "", nil
}
