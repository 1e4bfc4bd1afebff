/* Control groups: the processors that a container or a service manager allows this process. */
#ifndef DVIT_BASE_CGROUP_H
#define DVIT_BASE_CGROUP_H

/* Whole processors, rounded up, of the smallest quota among the groups of this process and all
 * their ancestors, in version 1 and 2; 0: no limit. `root` stands before every path that is read,
 * "" but in tests. */
int dvit_cgroup_processors(const char *root);

#endif
