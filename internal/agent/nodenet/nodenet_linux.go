package nodenet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolecall/rolecall/internal/fault"
)

// made is what Remove undoes.
type made struct {
	link      netlink.Link // nil if it was there
	addresses []placed
}

type placed struct {
	on      netlink.Link
	address *netlink.Addr
}

const loopback = "lo"

// Prepare makes sure that this node has the addresses. What is there already is
// accepted on our link or on lo; running it twice changes nothing. It needs
// CAP_NET_ADMIN only if something is missing.
func Prepare(request Request) (*Setup, error) {
	missing, link, err := missingAddresses(request.Addresses)
	if err != nil {
		return nil, err
	}
	s := &Setup{}
	if len(missing) > 0 && link == nil {
		if link, err = s.makeLink(request); err != nil {
			return nil, err
		}
	}
	for _, address := range missing {
		if err := s.add(request, link, address); err != nil {
			return nil, errors.Join(err, s.Remove())
		}
	}
	if link == nil {
		return s, nil
	}
	s.LinkType = linkType(link)
	if len(missing) == 0 {
		return s, nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, errors.Join(explain("set link up", err), s.Remove())
	}
	for _, address := range request.Addresses {
		if err := s.route(link, address); err != nil {
			return nil, errors.Join(err, s.Remove())
		}
	}
	request.Log.Info(
		"node addresses ready", "link", link.Attrs().Name, "type", s.LinkType, "added", len(s.made.addresses),
	)
	return s, nil
}

// missingAddresses finds out which link has the addresses. link is ours, or lo
// if an address is there; nil if neither.
func missingAddresses(wanted []netip.Addr) (missing []netip.Addr, link netlink.Link, err error) {
	if link, err = ourLink(); err != nil {
		return nil, nil, err
	}
	for _, address := range wanted {
		owner, err := ownerOf(address)
		switch {
		case err != nil:
			return nil, nil, err
		case owner == nil:
			missing = append(missing, address)
		case owner.Attrs().Name == LinkName, owner.Attrs().Name == loopback:
			if link == nil {
				link = owner
			}
		default:
			return nil, nil, fault.New(
				fault.Conflict, "%s is already an address of the link %s", address, owner.Attrs().Name,
			).
				Hint("another agent, or one that is built into the node, runs here")
		}
	}
	return missing, link, nil
}

func ourLink() (netlink.Link, error) {
	link, err := netlink.LinkByName(LinkName)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil, nil
	}
	return link, explain("look for the link", err)
}

// ownerOf is the link that has an address; nil if none has.
func ownerOf(address netip.Addr) (netlink.Link, error) {
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, explain("list addresses", err)
	}
	for _, one := range all {
		if found, ok := netip.AddrFromSlice(one.IP); ok && found.Unmap() == address {
			link, err := netlink.LinkByIndex(one.LinkIndex)
			return link, explain("look for the link of "+address.String(), err)
		}
	}
	return nil, nil
}

// makeLink tries what kernels may lack, the best first: a dummy link, a bridge
// without ports, and at last no link of our own.
func (s *Setup) makeLink(request Request) (netlink.Link, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = LinkName
	for _, link := range []netlink.Link{&netlink.Dummy{LinkAttrs: attributes}, &netlink.Bridge{LinkAttrs: attributes}} {
		err := netlink.LinkAdd(link)
		switch {
		case err == nil:
			if link, err = netlink.LinkByName(LinkName); err != nil {
				return nil, explain("look for the link", err)
			}
			s.made.link = link
			return link, nil
		case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENODEV):
			return nil, explain("make link "+LinkName, err)
		}
		request.Log.Info("kernel lacks the type of link, trying the next", "type", link.Type())
	}
	link, err := netlink.LinkByName(loopback)
	return link, explain("look for "+loopback, err)
}

func (s *Setup) add(request Request, link netlink.Link, address netip.Addr) error {
	wanted := &netlink.Addr{IPNet: hostPrefix(address)}
	if address.Is6() {
		// Nobody else can have the address, so there is nothing to detect, and
		// binding works at once.
		wanted.Flags = unix.IFA_F_NODAD
	}
	err := netlink.AddrAdd(link, wanted)
	switch {
	case err == nil:
		s.made.addresses = append(s.made.addresses, placed{link, wanted})
		return nil
	case errors.Is(err, unix.EEXIST):
		return nil
	case address.Is6() && !request.RequireIPv6 && noIPv6(err):
		request.Log.Warn(
			"this node cannot have the IPv6 address, going on with IPv4", "address", address.String(), "error", err,
		)
		s.Missing = append(s.Missing, address)
		return nil
	}
	return explain(fmt.Sprintf("add %s to %s", address, link.Attrs().Name), err)
}

// noIPv6 reports whether the kernel is without IPv6, or told to be.
func noIPv6(err error) bool {
	for _, one := range []error{unix.EADDRNOTAVAIL, unix.EOPNOTSUPP, unix.EACCES, unix.EAFNOSUPPORT} {
		if errors.Is(err, one) {
			return true
		}
	}
	text, readErr := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return readErr == nil && strings.TrimSpace(string(text)) == "1"
}

// route leads to the address through its link. On lo the kernel's own table
// does.
func (s *Setup) route(link netlink.Link, address netip.Addr) error {
	if link.Attrs().Name == loopback || slices.Contains(s.Missing, address) {
		return nil
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostPrefix(address), Scope: netlink.SCOPE_LINK}
	err := netlink.RouteAdd(route)
	if err == nil || !errors.Is(err, unix.EEXIST) {
		return explain("add the route to "+address.String(), err)
	}
	family := netlink.FAMILY_V4
	if address.Is6() {
		family = netlink.FAMILY_V6
	}
	there, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: route.Dst}, netlink.RT_FILTER_DST)
	if err != nil {
		return explain("list routes", err)
	}
	for _, one := range there {
		if one.LinkIndex == route.LinkIndex {
			return nil
		}
	}
	return fault.New(fault.Conflict, "a route to %s already leads through another link", address)
}

// Remove undoes what Prepare made, and touches nothing that was there before.
func (s *Setup) Remove() error {
	if s.made.link != nil {
		err := netlink.LinkDel(s.made.link)
		s.made = made{}
		return explain("remove link "+LinkName, err)
	}
	var all error
	for _, one := range s.made.addresses {
		all = errors.Join(all, explain("remove "+one.address.IPNet.String(), netlink.AddrDel(one.on, one.address)))
	}
	s.made = made{}
	return all
}

// RemoveAll removes the link, no matter who made it, or the addresses that are
// on lo. It is for the removal of the agent from a node.
func RemoveAll(addresses []netip.Addr) error {
	link, err := ourLink()
	if err != nil {
		return err
	}
	if link != nil {
		return explain("remove link "+LinkName, netlink.LinkDel(link))
	}
	for _, address := range addresses {
		owner, err := ownerOf(address)
		if err != nil {
			return err
		}
		if owner == nil || owner.Attrs().Name != loopback {
			continue
		}
		if err := netlink.AddrDel(owner, &netlink.Addr{IPNet: hostPrefix(address)}); err != nil {
			return explain("remove "+address.String(), err)
		}
	}
	return nil
}

func linkType(link netlink.Link) string {
	if link.Attrs().Name == loopback {
		return loopback
	}
	return link.Type()
}

func hostPrefix(address netip.Addr) *net.IPNet {
	bits := address.BitLen()
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)}
}

// explain gives an error of the kernel a kind; nil stays nil.
func explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "%s: %w", doing, err).Hint(
			"this needs the capability NET_ADMIN in the host's network namespace",
		)
	default:
		return fault.New(fault.Unavailable, "%s: %w", doing, err)
	}
}
